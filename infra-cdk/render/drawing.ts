import type { Plan } from '../site/plan.ts'
export const drawRacks = (plan: Plan) => plan.site
