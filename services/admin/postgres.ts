/** PostgreSQL as a process of the agent: prepares the data directory, then becomes the server itself. */
import { join } from 'node:path'
import { preparePostgres } from '#services/common/postgres-server.ts'
import { readConfig } from '#services/common/process.ts'

const [flag, file] = process.argv.slice(2)
if (flag !== '--config' || file === undefined) {
  process.stderr.write('usage: node services/admin/postgres.ts --config FILE\n')
  process.exit(2)
}
try {
  const { data, postgres, options } = readConfig(file)
  if (!postgres) throw new Error(`configuration ${file}: "postgres" is missing`)
  const folder = (options.folder as string | undefined) ?? data
  const { command, args, user } = preparePostgres({
    data: join(folder, 'database'),
    binaries: join(folder, 'binaries'),
    port: postgres.port,
    user: postgres.user,
    password: postgres.password,
  })
  process.chdir('/')
  if (user) {
    process.setgroups?.([user.gid])
    process.setgid?.(user.gid)
    process.setuid?.(user.uid)
  }
  process.execve?.(command, [command, ...args], { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' })
} catch (error) {
  process.stderr.write(`${JSON.stringify({ level: 60, time: Date.now(), msg: (error as Error).message })}\n`)
  process.exit(1)
}
