export type Attributes = Readonly<Record<string, string | number | boolean>>

/** An element to write. Its children are elements; the CIB has no text. */
export interface Element {
  readonly name: string
  readonly attributes: Attributes
  readonly children: readonly Element[]
}

export const element = (name: string, attributes: Attributes, children: readonly Element[] = []): Element => ({
  name,
  attributes,
  children,
})

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escapeText = (text: string) => text.replace(/[&<>"]/g, (character) => entities[character]!)

/** XML of the element and all in it, two spaces a level, with a line break at its end. */
export function write({ name, attributes, children }: Element, indent = ''): string {
  const list = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeText(String(value))}"`)
  const head = `${indent}<${name}${list.join('')}`
  if (children.length === 0) return `${head}/>\n`
  return `${head}>\n${children.map((child) => write(child, `${indent}  `)).join('')}${indent}</${name}>\n`
}
