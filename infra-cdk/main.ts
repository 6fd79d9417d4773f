/** The CDKTF app: `cdktf deploy home`. */
import { App } from './cdk.ts'
import { releaseHash } from './site/release.ts'
import { home } from './sites/home.ts'
import { MachineStack } from './stacks/machine.ts'

const app = new App()
try {
  new MachineStack(app, { machine: home, release: releaseHash() })
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exit(1)
}
app.synth()
