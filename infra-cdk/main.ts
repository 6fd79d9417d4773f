/** The CDKTF app: `cdktf deploy home`. */
import { App } from './cdk.ts'
import { releaseHash } from './site.ts'
import { home } from './sites/home.ts'
import { ServicesStack } from './stacks/services.ts'

const app = new App()
try {
  new ServicesStack(app, { site: home, release: releaseHash() })
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exit(1)
}
app.synth()
