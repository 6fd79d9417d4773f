/** REST requests a second through the front door, and what the parts behind it and others take on the same machine. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import autocannon from 'autocannon'
import { freePort, until } from '#services/common/testing.ts'
import { channelOf, siteAt } from '../devices/site.ts'
import { state } from '../state.ts'
import type { Bench } from './main.ts'

const connections = 32

async function measure(url: string, headers: Record<string, string>, seconds: number) {
  const result = await autocannon({ url, headers, connections, duration: seconds, workers: 1 })
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${url}: ${result.non2xx} answers were not 200, ${result.errors} errors`)
  return [Math.round(result.requests.average), result.latency.p50, result.latency.p99]
}

/** nginx as a reverse proxy of one worker in front of tgctl. Undefined: it is not on this machine. */
async function nginx(upstream: number, token: string): Promise<{ url: string; stop(): void } | undefined> {
  if (spawnSync('nginx', ['-v']).status !== 0) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'milepost-nginx-'))
  const port = await freePort()
  writeFileSync(
    join(folder, 'nginx.conf'),
    `worker_processes 1; daemon off; pid ${folder}/pid; error_log stderr crit;
     events { worker_connections 1024; }
     http { access_log off; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f;
       uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
       upstream tgctl { server 127.0.0.1:${upstream}; keepalive 64; }
       server { listen 127.0.0.1:${port}; location / { proxy_pass http://tgctl; proxy_http_version 1.1;
         proxy_set_header Connection ""; proxy_set_header Authorization "Bearer ${token}"; proxy_set_header x-milepost-account 1; } } }`,
    { mode: 0o600 },
  )
  const child: ChildProcess = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: 'ignore' })
  await until('nginx listens', async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).ok)
  return {
    url: `http://127.0.0.1:${port}`,
    stop() {
      child.kill('SIGTERM')
      child.once('exit', () => rmSync(folder, { recursive: true, force: true }))
    },
  }
}

export const bench: Bench = async ({ seconds, say }) => {
  const site = siteAt()
  const channel = await channelOf(site, 'teltonika')
  const user = { authorization: `Bearer ${site.token}` }
  const { internal_token, port: tgctl } = JSON.parse(
    readFileSync(join(state, 'run', 'home', 'tgctl-1.json'), 'utf8'),
  ) as { internal_token: string; port: number }
  const inside = { authorization: `Bearer ${internal_token}`, 'x-milepost-account': '1' }
  const path = `/gw/channels/${channel.id}`
  const rows: (string | number)[][] = []
  const row = async (what: string, url: string, headers: Record<string, string>) => {
    say(`prod: ${what}`)
    rows.push([what, ...(await measure(url, headers, seconds))])
  }
  await row('PROD alone: its index, no token', `${site.url}/`, {})
  await row('PROD alone: platform/accounts, a token checked', `${site.url}/platform/accounts/1`, user)
  await row('PROD → tgctl → PostgreSQL: one channel', `${site.url}${path}`, user)
  await row('tgctl → PostgreSQL directly: one channel', `http://127.0.0.1:${tgctl}${path}`, inside)
  const peer = await nginx(tgctl, internal_token)
  if (peer) {
    await row('nginx → tgctl → PostgreSQL: one channel', `${peer.url}${path}`, {})
    peer.stop()
  }
  const [through, behind] = [Number(rows[2]?.[1]), Number(rows[4]?.[1] ?? Number.NaN)]
  return [
    {
      title: 'REST requests a second',
      head: ['what', 'requests/s', 'p50 ms', 'p99 ms'],
      rows,
      notes: [
        `${connections} connections with keep-alive, one process of load on the same cores; tgctl has four workers, PROD one process.`,
        peer
          ? `PROD with its token, limits and counters carries ${(through / behind).toFixed(2)} × what nginx carries as a bare proxy of one worker.`
          : 'nginx is not on this machine, so it is not compared.',
      ],
    },
  ]
}
