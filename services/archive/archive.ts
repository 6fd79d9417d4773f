/** The archive: each day's records of every container as Parquet files, and the same history when MDB is away. */
import { join } from 'node:path'
import { Gauge } from 'prom-client'
import { createApi } from '#services/common/api.ts'
import { start } from '#services/common/process.ts'
import { dayOf } from './days.ts'
import { Exporter } from './export.ts'
import { type Job, Jobs } from './jobs.ts'
import { Library } from './library.ts'
import { restore } from './restore.ts'
import { addRoutes } from './routes.ts'
import { Source } from './source.ts'
import { type Problem, verifyDay } from './verify.ts'

interface ArchiveOptions {
  /** Folder of the days; absent: `days` in the process's own. */
  folder?: string
  /** Time of day (UTC) from which on yesterday is exported. */
  at?: string
  /** Days that are kept; 0: all. */
  keep_days?: number
  /** So many days back is looked for records that came late. */
  late_days?: number
}

const at_default = '00:30'
const keep_days_default = 0
const late_days_default = 30
/** How often is looked whether the time has come, and how long after a failure the next attempt is made. */
const look_every_ms = 30_000
const retry_s = 300

start(import.meta, async ({ config, log, onStop }) => {
  const options = config.options as ArchiveOptions
  const { at = at_default, keep_days = keep_days_default, late_days = late_days_default } = options
  if (!/^([01]\d|2[0-3]):[0-5]\d$/.test(at)) throw new Error(`configuration: options.at "${at}" is no time like 00:30`)
  for (const [name, value] of Object.entries({ keep_days, late_days }))
    if (!Number.isInteger(value) || value < 0)
      throw new Error(`configuration: options.${name} ${value} is no number of days`)
  const library = new Library(options.folder ?? join(config.data, 'days'))
  await library.load()
  for (const [day, { message }] of library.damaged()) log.error({ day, reason: message }, 'a day cannot be read')
  const source = new Source(config.urls.mdb, config.internal_token)
  const exporter = new Exporter(
    library,
    source,
    { keep_days, late_days: Math.max(1, late_days), postgres: config.postgres },
    log,
  )
  let problems = 0
  let succeeded = 0

  async function run(job: Job, tell: (text: string) => void): Promise<unknown> {
    const { kind, from_day, to_day, container } = job
    if (kind === 'export') {
      const [first, last] = [from_day ?? to_day, to_day ?? from_day]
      const exported = await exporter.run(tell, first && last ? { first, last } : undefined)
      succeeded = Date.now() / 1000
      return exported
    }
    const days = library.days().filter((day) => day >= (from_day ?? day) && day <= (to_day ?? day))
    if (kind === 'verify') {
      const found: Problem[] = []
      let records = 0
      for (const [index, day] of days.entries()) {
        tell(`${day}: ${index} of ${days.length} days, ${records} records, ${found.length} problems`)
        const checked = await verifyDay(library, day)
        records += checked.records
        found.push(...checked.problems)
      }
      problems = found.length
      return { days: days.length, records, problems: found }
    }
    const range = { from_day: from_day ?? to_day!, to_day: to_day ?? from_day! }
    return restore(library, source, { ...range, container: container ?? undefined }, tell)
  }
  const jobs = new Jobs(run, log)

  const app = await createApi({
    system: 'archive',
    title: 'The archive: days of MDB as files',
    log,
    internalToken: config.internal_token,
  })
  addRoutes(app, library, jobs)
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers: [app.registry],
      collect() {
        this.set(value())
      },
    })
  gauge('archive_as_of_seconds', 'until when the archive is complete, s since 1970', () => library.asOf() ?? 0)
  gauge('archive_export_success_seconds', 'when an export last succeeded, s since 1970', () => succeeded)
  gauge('archive_days', 'days in the archive', () => library.days().length)
  gauge('archive_problems', 'problems that the last check found', () => problems)

  /** Day on which an export was made, or the time before which no other attempt is. */
  let done = ''
  let not_before = 0
  const look = setInterval(async () => {
    const now = Date.now() / 1000
    const today = dayOf(now)
    if (done === today || now < not_before || new Date().toISOString().slice(11, 16) < at) return
    not_before = Number.POSITIVE_INFINITY
    const { status } = await Promise.resolve({ kind: 'export' } as const)
      .then((wanted) => jobs.ended(jobs.add(wanted)))
      .catch(() => ({ status: 'failed' }))
    if (status === 'done') done = today
    not_before = status === 'done' ? 0 : Date.now() / 1000 + retry_s
  }, look_every_ms)
  onStop(() => library.close())
  onStop(() => app.close())
  onStop(() => clearInterval(look))
  await app.listen({ host: config.host, port: config.port ?? 0 })
})
