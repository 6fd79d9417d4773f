/** The common tests of MDB's stores on Cassandra; `npm run cassandra -- selftest` starts the nodes and then runs them. */
export default {
  files: ['services/**/*.cassandra.ts'],
  extensions: ['ts'],
  timeout: '10m',
  workerThreads: false,
  concurrency: 1,
  serial: true,
}
