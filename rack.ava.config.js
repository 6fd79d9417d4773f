/** Tests that need root and Debian's packages of a rack (pacemaker, corosync, nftables, …): `npm run test:rack`. */
export default {
  files: ['infra-cdk/**/*.rack.ts', 'ansible/**/*.rack.ts', 'pacemaker/**/*.rack.ts', 'scripts/**/*.rack.ts'],
  extensions: ['ts'],
  timeout: '5m',
  workerThreads: false,
  concurrency: 2,
}
