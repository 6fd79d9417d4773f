/** The TextMate grammar of the language, made of the same tables as the language: `pvm grammar > pvm/editor/pvm.tmLanguage.json`. */
import { functionNames } from './functions.ts'
import { kinds, writes } from './opcodes.ts'
import { statementNames } from './parse-statement.ts'
import { sectionNames } from './parser.ts'

const others = [
  'else',
  'until',
  'any',
  'while',
  'eat',
  'next',
  'bytes',
  'key',
  'tcp',
  'udp',
  'http',
  'size',
  'line',
  'measure',
  'whole',
  'min',
  'max',
  'escape',
  'at',
]

const words = (list: readonly string[]) => `\\b(${[...new Set(list)].sort().join('|')})\\b`

/** The grammar as JSON. */
export function grammar(): string {
  const rule = (name: string, match: string) => ({ name: `${name}.pvm`, match })
  return `${JSON.stringify(
    {
      $schema: 'https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json',
      name: 'PVM',
      scopeName: 'source.pvm',
      fileTypes: ['pvm'],
      patterns: [
        rule('comment.line.number-sign', '#.*$'),
        {
          name: 'string.quoted.double.pvm',
          begin: '"',
          end: '"|$',
          patterns: [rule('constant.character.escape', '\\\\(x[0-9a-fA-F]{2}|.)')],
        },
        rule('variable.other', '\\$[a-z_][a-z0-9_]*'),
        rule('keyword.operator.arrow', '->'),
        rule('support.constant.unit', '\\[[^\\]\\n]+\\]'),
        rule('constant.numeric', '\\b(0x[0-9a-fA-F]+|\\d+(\\.\\d+)?(e-?\\d+)?)\\b'),
        rule('entity.name.tag.parameter', '\\b[a-z][a-z0-9]*(\\.([a-z0-9_]+|\\{\\$[a-z_][a-z0-9_]*\\}))+'),
        rule('keyword.other.section', words(sectionNames)),
        rule('keyword.control', words([...statementNames, ...others])),
        rule('storage.type', words([...kinds, ...writes])),
        rule('constant.language', words(['true', 'false', 'null'])),
        rule('support.function', words(functionNames)),
        rule('keyword.operator', '==|!=|<=|>=|<<|>>|&&|\\|\\||[-+*/%&|^<>!]'),
      ],
    },
    null,
    2,
  )}\n`
}
