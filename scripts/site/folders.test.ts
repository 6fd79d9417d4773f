import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { noteHostKey, readFiles, writeFiles } from './folders.ts'

test('a folder comes to hold exactly the files it is given; what is the same is left alone', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'milepost-folders-'))
  try {
    t.deepEqual([...readFiles(join(folder, 'absent'))], [])
    writeFiles(
      folder,
      new Map([
        ['a/one', '1\n'],
        ['two', '2\n'],
      ]),
    )
    const before = statSync(join(folder, 'two')).ino
    const wanted = new Map([
      ['a/three', '3\n'],
      ['two', '2\n'],
    ])
    writeFiles(folder, wanted)
    t.deepEqual(readFiles(folder), wanted)
    t.is(statSync(join(folder, 'two')).ino, before)
    writeFiles(folder, new Map([['two', '4\n']]), 'keep')
    t.deepEqual([...readFiles(folder).keys()], ['a/three', 'two'])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a host key takes the place of the one before it; those of other servers stay', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'milepost-folders-'))
  try {
    const file = join(folder, 'known_hosts')
    noteHostKey(file, ['srv1', '10.0.0.1'], 22, 'ssh-ed25519 A')
    noteHostKey(file, ['10.0.0.1'], 2_222, 'ssh-ed25519 B')
    noteHostKey(file, ['srv1', '10.0.0.1'], 22, 'ssh-ed25519 C')
    t.is(readFileSync(file, 'utf8'), '[10.0.0.1]:2222 ssh-ed25519 B\nsrv1,10.0.0.1 ssh-ed25519 C\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
