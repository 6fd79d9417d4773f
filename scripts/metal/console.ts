/** A terminal at a server's serial console. Ctrl-] leaves it. */
import { connect } from 'node:net'

const leave = 0x1d

/** Resolves when left, or when the server goes off. */
export function attach(socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const line = connect(socket)
    const input = process.stdin
    const end = () => {
      if (input.isTTY) input.setRawMode(false)
      input.pause()
      line.destroy()
      resolve()
    }
    line.on('error', (error: NodeJS.ErrnoException) =>
      reject(new Error(error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? 'the server is off' : error.message)),
    )
    line.on('connect', () => {
      process.stdout.write('Ctrl-] leaves the console\r\n')
      if (input.isTTY) input.setRawMode(true)
      // Whatever waits there asks for a name again.
      line.write('\r')
      input.on('data', (chunk: Buffer) => (chunk.includes(leave) ? end() : line.write(chunk)))
      input.on('end', end)
    })
    line.on('data', (chunk) => process.stdout.write(chunk))
    line.on('close', end)
  })
}
