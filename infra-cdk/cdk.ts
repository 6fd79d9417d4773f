/** The only file that imports cdktf: a fork of it, or plain OpenTofu JSON, can take its place here. */
import { createRequire } from 'node:module'
import type { NullProvider as NullProviderClass } from '@cdktf/provider-null/lib/provider/index.js'
import type { Resource as ResourceClass } from '@cdktf/provider-null/lib/resource/index.js'
import type * as Cdktf from 'cdktf'

// cdktf is CommonJS whose names Node cannot see beforehand.
const require = createRequire(import.meta.url)
const cdktf = require('cdktf') as typeof Cdktf

export const { App, LocalBackend, TerraformStack, Testing } = cdktf
export type App = Cdktf.App
export type TerraformStack = Cdktf.TerraformStack
export const NullProvider = require('@cdktf/provider-null/lib/provider').NullProvider as typeof NullProviderClass
export const NullResource = require('@cdktf/provider-null/lib/resource').Resource as typeof ResourceClass
export type NullResource = ResourceClass
