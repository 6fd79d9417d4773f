/** DuckDB and chDB for the bench, from PyPI: in a virtual environment below .milepost. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { state } from '../state.ts'

const packages = ['duckdb==2.0.1', 'chdb==4.4.0', 'numpy']

function run(command: string, args: string[], what: string): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status === 0) return
  const why = error?.message ?? stderr.trim().split('\n').slice(-3).join(' ')
  throw new Error(`${what}: ${why}`)
}

/** The interpreter of the environment; makes it where it is missing. Throws an error that names the remedy. */
export function benchPython(): string {
  const folder = join(state, 'bench-venv')
  const python = join(folder, 'bin', 'python')
  if (existsSync(python) && spawnSync(python, ['-c', 'import duckdb, chdb, numpy']).status === 0) return python
  run('python3', ['-m', 'venv', '--clear', folder], 'python3 with its venv module is missing (Debian: python3-venv)')
  run(python, ['-m', 'pip', 'install', '--quiet', ...packages], `pip cannot install ${packages.join(' ')}`)
  return python
}
