import { Construct } from 'constructs'
import type { Site } from './site.ts'

export interface PowerFeedProps {
  /** For the operator: which breaker, which UPS. */
  readonly source: string
}

/** An independent supply of electricity. */
export class PowerFeed extends Construct {
  readonly name: string
  readonly source: string

  constructor(scope: Site, name: string, { source }: PowerFeedProps) {
    super(scope, `feed-${name}`)
    this.name = name
    this.source = source
  }
}
