/** Why a connection ended. Codes are stable: logs, metrics and rules of users name them. */
const table = {
  peer: { code: 0, text: 'the device closed the connection' },
  broken: { code: 1, text: 'the network broke the connection' },
  violation: { code: 10, text: 'the device departs from its protocol' },
  noise: { code: 11, text: 'what came is no packet of the protocol' },
  silence: { code: 12, text: 'nothing came for too long' },
  unfinished: { code: 13, text: 'a packet was begun and not finished in time' },
  no_login: { code: 14, text: 'no whole packet came in time' },
  deaf: { code: 15, text: 'the device does not read its answers' },
  refused: { code: 20, text: 'the ident is not registered' },
  ident_twice: { code: 21, text: 'the same ident connected again' },
  limit: { code: 22, text: 'too many connections' },
  blocked: { code: 23, text: 'the account is blocked' },
  rate: { code: 24, text: 'too many datagrams of one address' },
  deleted: { code: 30, text: 'the channel was deleted or disabled' },
  changed: { code: 31, text: "the channel's port or protocol changed" },
  request: { code: 32, text: 'closed over REST' },
  restart: { code: 40, text: 'the process stops' },
  store_away: { code: 50, text: 'the messages could not be stored in time' },
  store_refused: { code: 51, text: 'the store refused the messages' },
  crowded: { code: 53, text: 'too much waits for the store' },
  ours: { code: 52, text: 'a defect of ours' },
} as const

export type CloseReason = keyof typeof table

export const closeCodes = table
