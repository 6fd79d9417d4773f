import type { Plan } from '#infra/site/plan.ts'

export const showText = (plan: Plan) => plan.site
