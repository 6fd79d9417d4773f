/** One line of progress that is written over on a terminal, and repeated seldom where the output is kept. */
export class Progress {
  readonly #terminal = process.stdout.isTTY === true
  #last = 0

  /** `every_ms`: pause between lines where there is no terminal. */
  show(line: string, every_ms = 5_000): void {
    if (this.#terminal) {
      process.stdout.write(`\r\x1b[2K${line.slice(0, (process.stdout.columns ?? 120) - 1)}`)
    } else if (Date.now() - this.#last >= every_ms) {
      this.#last = Date.now()
      process.stdout.write(`${line}\n`)
    }
  }

  /** Removes the line, so that what follows stands alone. */
  clear(): void {
    if (this.#terminal) process.stdout.write('\r\x1b[2K')
  }
}

/** Rows as an aligned table; numbers stand right. */
export function table(head: string[], rows: (string | number)[][]): string {
  const text = [head, ...rows.map((row) => row.map((cell) => formatted(cell)))]
  const widths = head.map((_, i) => Math.max(...text.map((row) => row[i]?.length ?? 0)))
  return text
    .map((row, r) =>
      row
        .map((cell, i) => {
          const isNumber = r > 0 ? typeof rows[r - 1]?.[i] === 'number' : typeof rows[0]?.[i] === 'number'
          return isNumber ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const formatted = (cell: string | number) => (typeof cell === 'number' ? cell.toLocaleString('en-US') : cell)
