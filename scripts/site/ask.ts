import { createInterface } from 'node:readline/promises'

/** Has a person write a name again; throws with `otherwise` where nobody sits, and when another word comes. */
export async function confirmed(question: string, name: string, otherwise: string): Promise<void> {
  if (!process.stdin.isTTY) throw new Error(otherwise)
  const asking = createInterface({ input: process.stdin, output: process.stdout })
  const word = await asking.question(question)
  asking.close()
  if (word.trim() !== name) throw new Error(`${name} is left as it is`)
}
