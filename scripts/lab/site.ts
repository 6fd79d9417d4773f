import type { Plan } from '#infra/site/plan.ts'
import { planNamed } from '../site/site.ts'

/** The site whose rack the laboratory builds. */
export const lab_site = 'lab'

/** Its plan, from the site file that is in force. */
export const labPlan = (): Plan => planNamed(lab_site)
