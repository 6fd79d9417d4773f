/** What a series of drills says: a line each, and a summary of those that were repeated. Pure. */
import { table } from '../devices/progress.ts'
import { percentile } from './measure.ts'
import type { DrillResult } from './run.ts'

const seconds = (ms: number) => (ms / 1000).toFixed(2)

export const reportHead = [
  'drill',
  '',
  'outage s',
  'silence s',
  'REST s',
  'connection p50 s',
  'max s',
  'kept',
  'acknowledged',
  'lost',
  'doubled',
  'redundant after s',
  '',
]

export function reportRow(result: DrillResult): (string | number)[] {
  const {
    drill,
    outage_ms,
    silence_ms,
    rest_ms,
    connection_p50_ms,
    connection_max_ms,
    kept,
    devices,
    comparison,
    redundant_ms,
    faults,
  } = result
  return [
    drill.name,
    faults.length === 0 ? 'ok' : 'FAILED',
    seconds(outage_ms),
    seconds(silence_ms),
    seconds(rest_ms),
    seconds(connection_p50_ms),
    seconds(connection_max_ms),
    `${kept}/${devices}`,
    comparison.acknowledged,
    comparison.lost,
    comparison.doubled,
    seconds(redundant_ms),
    faults.join('; '),
  ]
}

/** A line a drill; where one was repeated, its distribution below. */
export function reportText(results: readonly DrillResult[]): string {
  const text = [table(reportHead, results.map(reportRow))]
  const names = [...new Set(results.map(({ drill }) => drill.name))]
  const repeated = names
    .map((name) => results.filter(({ drill }) => drill.name === name))
    .filter(({ length }) => length > 1)
  if (repeated.length > 0) {
    const rows = repeated.map((runs) => {
      const outages = runs.map(({ outage_ms }) => outage_ms)
      const silences = runs.map(({ silence_ms }) => silence_ms)
      const rests = runs.map(({ rest_ms }) => rest_ms)
      return [
        runs[0]!.drill.name,
        runs.length,
        runs.filter(({ faults }) => faults.length === 0).length,
        seconds(percentile(outages, 0.5)),
        seconds(percentile(outages, 0.95)),
        seconds(Math.max(...outages)),
        seconds(percentile(silences, 0.5)),
        seconds(percentile(silences, 0.95)),
        seconds(Math.max(...silences)),
        seconds(percentile(rests, 0.5)),
        seconds(Math.max(...rests)),
        runs.reduce((sum, { comparison }) => sum + comparison.acknowledged, 0),
        runs.reduce((sum, { comparison }) => sum + comparison.lost, 0),
      ]
    })
    text.push(
      '',
      table(
        [
          'drill',
          'times',
          'ok',
          'outage p50 s',
          'p95 s',
          'max s',
          'silence p50 s',
          'p95 s',
          'max s',
          'REST p50 s',
          'max s',
          'acknowledged',
          'lost',
        ],
        rows,
      ),
    )
  }
  return text.join('\n')
}
