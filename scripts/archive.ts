/** The archive for a person: `npm run archive -- list`. Through the front door of an environment, or on a folder of files alone. */
import { request } from 'node:http'
import { parseArgs } from 'node:util'
import { beginOf, isDay } from '#services/archive/days.ts'
import type { Exported } from '#services/archive/export.ts'
import type { Job } from '#services/archive/jobs.ts'
import { Library } from '#services/archive/library.ts'
import type { Restored } from '#services/archive/restore.ts'
import { type Problem, verifyDay } from '#services/archive/verify.ts'
import { Progress, table } from './devices/progress.ts'
import { rest, type Site, siteAt } from './devices/site.ts'

const help = `usage: npm run archive -- COMMAND [options]

  list                     the days of the archive
  export                   exports what is missing up to yesterday (UTC), and what came late
  verify                   reads everything again; names each file that is damaged
  restore                  brings records back into MDB; what is there already stays as it is
  read CONTAINER           records of a container as JSON lines

  --day DAY                export, verify, restore: one day (2026-11-24)
  --from-day, --to-day DAY the same for several, both included
  --container ID           restore: this container alone
  --from, --to TIME        read: s since 1970 or 2026-11-24T12:00:00Z; from is included, to is not
  --count N                read: records at most (1000)
  --reverse                read: newest first
  --fields A,B             read: only these parameters

  --url URL                front door (http://127.0.0.1:7000)
  --token-file FILE        token of its root account (the home environment's)
  --folder DIR             list, verify, read: on the files in this folder; no service is needed

Exit code 0: done; 1: a check found something, or it failed; 2: it could not begin.
`

const poll_ms = 300

interface Options {
  'from-day'?: string | undefined
  'to-day'?: string | undefined
  container?: string | undefined
  from?: string | undefined
  to?: string | undefined
  count: string
  reverse: boolean
  fields?: string | undefined
}

/** A mistake in how it was called. */
class UsageError extends Error {}

function daysOf(options: Options): { from_day?: string; to_day?: string } {
  const days = { from_day: options['from-day'] ?? options['to-day'], to_day: options['to-day'] ?? options['from-day'] }
  for (const day of Object.values(days))
    if (day !== undefined && !isDay(day)) throw new UsageError(`"${day}" is no day; write it as 2026-11-24`)
  return days.from_day === undefined ? {} : (days as { from_day: string; to_day: string })
}

function timeOf(option: string, text: string): number {
  const time = Number.isFinite(Number(text)) ? Number(text) : Date.parse(text) / 1000
  if (!Number.isFinite(time) || text === '')
    throw new UsageError(`${option} ${text}: s since 1970, or 2026-11-24T12:00:00Z`)
  return time
}

function numberOf(option: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`${option} ${text}: a whole number from 1 on`)
  return value
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`

interface DayRow {
  day: string
  records: number
  bytes: number
  containers: number
  additions: number
  postgres: string
}

function showDays(days: DayRow[]): void {
  const rows = days.map(({ day, records, bytes, containers, additions, postgres }) => [
    day,
    records,
    containers,
    megabytes(bytes),
    additions,
    postgres,
  ])
  process.stdout.write(`${table(['day', 'records', 'containers', 'size', 'additions', 'PostgreSQL'], rows)}\n`)
}

function showProblems(days: number, records: number, problems: Problem[]): number {
  for (const { day, file, reason } of problems) process.stdout.write(`${day}/${file}: ${reason}\n`)
  process.stdout.write(`${days} days, ${records} records, ${problems.length} problems\n`)
  return problems.length > 0 ? 1 : 0
}

/** Runs a job at the archive and shows how far it is. */
async function run(site: Site, wanted: Record<string, unknown>): Promise<Job> {
  const [made] = await rest<Job>(site, 'POST', '/archive/jobs', [wanted])
  const progress = new Progress()
  for (;;) {
    const [job] = await rest<Job>(site, 'GET', `/archive/jobs/${made!.id}`)
    if (job!.ended !== null) {
      progress.clear()
      if (job!.status === 'done') return job!
      throw new Error((job!.outcome as { reason: string }).reason)
    }
    progress.show(job!.status === 'waiting' ? 'waits for the job before it' : job!.progress)
    await new Promise((done) => setTimeout(done, poll_ms))
  }
}

/** The answer as it comes: a long history is not held. */
function pass(site: Site, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${site.token}`, accept: 'application/x-ndjson' }
    const asked = request(`${site.url}${path}`, { headers }, (answer) => {
      if (answer.statusCode === 200) {
        process.stderr.write(`as of ${new Date(Number(answer.headers['x-archive-as-of']) * 1000).toISOString()}\n`)
        answer.pipe(process.stdout, { end: false })
        answer.on('error', reject)
        answer.on('end', resolve)
        return
      }
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk) => (text += chunk))
      answer.on('end', () => {
        const reason = /^\{/.test(text) ? JSON.parse(text).errors?.[0]?.reason : undefined
        reject(new Error(reason ?? `${path}: ${answer.statusCode}`))
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

function rangeOf({ from, to, count, reverse, fields }: Options) {
  return {
    from: from === undefined ? 0 : timeOf('--from', from),
    // MDB takes no later timestamp.
    to: to === undefined ? beginOf('2200-01-01') : timeOf('--to', to),
    count: numberOf('--count', count),
    reverse,
    fields,
  }
}

async function throughTheDoor(site: Site, command: string, container: number, options: Options): Promise<number> {
  const days = daysOf(options)
  switch (command) {
    case 'list':
      showDays((await rest(site, 'GET', '/archive/days/all')) as unknown as DayRow[])
      return 0
    case 'export': {
      const exported = (await run(site, { kind: 'export', ...days })).outcome as Exported[]
      for (const { day, records, kind } of exported)
        process.stdout.write(`${day}: ${records} records${kind === 'addition' ? ' that came late' : ''}\n`)
      if (exported.length === 0) process.stdout.write('nothing is new\n')
      return 0
    }
    case 'verify': {
      const found = (await run(site, { kind: 'verify', ...days })).outcome as {
        days: number
        records: number
        problems: Problem[]
      }
      return showProblems(found.days, found.records, found.problems)
    }
    case 'restore': {
      if (days.from_day === undefined)
        throw new UsageError('restore: which days? Give --day, or --from-day and --to-day')
      const wanted = {
        kind: 'restore',
        ...days,
        ...(options.container === undefined ? {} : { container: numberOf('--container', options.container) }),
      }
      const { records, stored, renumbered } = (await run(site, wanted)).outcome as Restored
      for (const { id, now, name } of renumbered) process.stdout.write(`container ${id} "${name}" is ${now} now\n`)
      process.stdout.write(`${records} records, ${stored} of them were not in MDB\n`)
      return 0
    }
    default: {
      const { from, to, count, reverse, fields } = rangeOf(options)
      const query = `from=${from}&to=${to}&count=${count}&reverse=${reverse}${fields ? `&fields=${fields}` : ''}`
      await pass(site, `/archive/containers/${container}/records?${query}`)
      return 0
    }
  }
}

async function onFiles(folder: string, command: string, container: number, options: Options): Promise<number> {
  const library = new Library(folder)
  try {
    await library.load()
    return await readFiles(library, command, container, options)
  } finally {
    await library.close()
  }
}

async function readFiles(library: Library, command: string, container: number, options: Options): Promise<number> {
  const { folder } = library
  const { from_day = '', to_day = '9' } = daysOf(options)
  if (library.days().length === 0) throw new UsageError(`${folder}: there are no days in it`)
  const days = library.days().filter((day) => day >= from_day && day <= to_day)
  switch (command) {
    case 'list': {
      const rows: DayRow[] = []
      for (const day of days.filter((other) => !library.damaged().has(other))) {
        const { records, parts, containers, additions, postgres } = await library.manifest(day)
        const bytes = parts.reduce((sum, part) => sum + part.bytes, 'file' in postgres ? postgres.bytes : 0)
        const dump = 'file' in postgres ? 'dumped' : postgres.missing
        rows.push({ day, records, bytes, containers: containers.length, additions: additions.length, postgres: dump })
      }
      showDays(rows)
      for (const { message } of library.damaged().values()) process.stdout.write(`${message}\n`)
      return library.damaged().size > 0 ? 1 : 0
    }
    case 'verify': {
      const progress = new Progress()
      const problems: Problem[] = []
      let records = 0
      for (const day of days) {
        progress.show(`${day}: ${records} records, ${problems.length} problems`)
        const checked = await verifyDay(library, day)
        records += checked.records
        problems.push(...checked.problems)
      }
      progress.clear()
      return showProblems(days.length, records, problems)
    }
    case 'read': {
      const { count, fields, ...range } = rangeOf(options)
      const names = fields?.split(',')
      const known = library.containers(undefined).filter(({ id }) => id === container)
      if (known.length === 0) throw new Error(`container ${container} has no records in ${folder}`)
      let left = count
      for (const one of known)
        for await (const { json } of library.read(one, range, names)) {
          if (left-- <= 0) return 0
          const record = JSON.parse(json)
          const picked = names?.filter((name) => Object.hasOwn(record, name)).map((name) => [name, record[name]])
          process.stdout.write(`${picked ? JSON.stringify(Object.fromEntries(picked)) : json}\n`)
        }
      return 0
    }
    default:
      throw new UsageError(`${command} needs a running archive: leave --folder out`)
  }
}

async function main(): Promise<number> {
  const option = { type: 'string' } as const
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      day: option,
      'from-day': option,
      'to-day': option,
      container: option,
      from: option,
      to: option,
      count: { ...option, default: '1000' },
      reverse: { type: 'boolean', default: false },
      fields: option,
      url: { ...option, default: 'http://127.0.0.1:7000' },
      'token-file': option,
      folder: option,
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [command = '', about] = positionals
  if (values.help || command === '') {
    process.stdout.write(help)
    return values.help ? 0 : 2
  }
  if (!['list', 'export', 'verify', 'restore', 'read'].includes(command))
    throw new UsageError(`there is no command "${command}"; see --help`)
  if (command === 'read' && about === undefined) throw new UsageError('read: which container?')
  const container = command === 'read' ? numberOf('read', about!) : 0
  const options = { ...values, 'from-day': values.day ?? values['from-day'], 'to-day': values.day ?? values['to-day'] }
  if (values.folder !== undefined) return onFiles(values.folder, command, container, options)
  return throughTheDoor(siteAt(values.url, values['token-file']), command, container, options)
}

main().then(
  (code) => (process.exitCode = code),
  (error: Error) => {
    const usage = error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
    process.stderr.write(`archive: ${error.message}\n`)
    process.exitCode = usage ? 2 : 1
  },
)
