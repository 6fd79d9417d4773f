import { ApiError } from '#services/common/errors.ts'

const patience_ms = 120_000
const pause_ms = 50

/** Asks again while it is unavailable, for tests: what counts is what is there, not when. */
export async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const end = performance.now() + patience_ms
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== 'unavailable' || performance.now() > end) throw error
      await new Promise((after) => setTimeout(after, pause_ms))
    }
  }
}
