/** MDB's pages: runs of records as compressed columns. A pure codec; the format is docs/mdb-format.md. */
export { type Column, lowerBound } from './column.ts'
export { blocksOf, bundleOf, openPage } from './page-bundle.ts'
export { DamagedError } from './page-bytes.ts'
export { type PageSummary, summarise } from './page-head.ts'
export { mergePages, page_records_max, readPages, sortRecords } from './page-merge.ts'
export { checkPage, encodePage, encodeTable, type Newest, type Page, type PageQuery } from './page-open.ts'
export { RowsMerge } from './page-rows-merge.ts'
export { type Message, type Table, tableOf } from './page-table.ts'
