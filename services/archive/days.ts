/** UTC days: by name (`2026-11-24`), by number (20261124, the id that REST has), as ranges of timestamps. */
import { ApiError } from '#services/common/errors.ts'

export const day_s = 86_400

/** `2026-11-24` of a timestamp in s. */
export const dayOf = (timestamp: number): string => new Date(timestamp * 1000).toISOString().slice(0, 10)

/** First second of a day, s since 1970. */
export const beginOf = (day: string): number => Date.parse(`${day}T00:00:00Z`) / 1000

export const dayBefore = (day: string): string => dayOf(beginOf(day) - day_s)

/** 20261124: a number that grows with the days. */
export const dayId = (day: string): number => Number(day.replaceAll('-', ''))

export const isDay = (text: string): boolean =>
  /^\d{4}-\d\d-\d\d$/.test(text) && Number.isFinite(beginOf(text)) && dayOf(beginOf(text)) === text

/** A day of a request: in the past as a whole. */
export function pastDay(text: string, field: string, now = Date.now() / 1000): string {
  if (!isDay(text)) throw new ApiError('malformed', `${field}: "${text}" is no day; write it as 2026-11-24`)
  if (text >= dayOf(now)) throw new ApiError('malformed', `${field}: ${text} is not over yet (UTC)`)
  return text
}
