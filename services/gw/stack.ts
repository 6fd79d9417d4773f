const listening = /Debugger listening on (ws:\S+)/

/** The debugger's address in what a process wrote to stderr, or undefined. */
export function debuggerOf(text: string): string | undefined {
  return listening.exec(text)?.[1]
}

interface Frame {
  functionName: string
  url: string
  location: { lineNumber: number; columnNumber: number }
}

/**
 * Where a process is, asked through its debugger (Chrome DevTools Protocol: Debugger.pause). That answers even while
 * JavaScript loops for ever; a process that hangs in native code gives no stack and rejects after `time_max_ms`.
 */
export function stackOf(url: string, time_max_ms: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url)
    const end = (settle: () => void) => {
      clearTimeout(late)
      socket.close()
      settle()
    }
    const late = setTimeout(() => end(() => reject(new Error('it does not stop at a JavaScript line'))), time_max_ms)
    socket.addEventListener('error', () => end(() => reject(new Error('its debugger does not answer'))))
    socket.addEventListener('open', () => {
      for (const [id, method] of ['Debugger.enable', 'Debugger.pause'].entries())
        socket.send(JSON.stringify({ id, method }))
    })
    socket.addEventListener('message', (event) => {
      const message = JSON.parse(String(event.data)) as { method?: string; params?: { callFrames: Frame[] } }
      if (message.method !== 'Debugger.paused') return
      const frames = message.params?.callFrames ?? []
      end(() =>
        resolve(
          frames.map(
            ({ functionName, url: file, location }) =>
              `${functionName || '(anonymous)'} (${file}:${location.lineNumber + 1}:${location.columnNumber + 1})`,
          ),
        ),
      )
    })
  })
}
