import { hostPlatform } from '../../oci/platform.ts';
import type { Platform } from '../../oci/manifest.ts';
import { Problem } from '../dockerfile/problem.ts';
import { quote } from '../dockerfile/syntax-error.ts';

const SYSTEMS = ['linux', 'windows', 'darwin', 'freebsd'];
/** Other names of architectures, as machines and people write them, and the variant that they imply. */
const ALIASES = new Map<string, readonly [architecture: string, variant?: string]>([
  ['x86_64', ['amd64']],
  ['x86-64', ['amd64']],
  ['i386', ['386']],
  ['i686', ['386']],
  ['aarch64', ['arm64']],
  ['armhf', ['arm', 'v7']],
  ['armel', ['arm', 'v6']],
]);
/** What an architecture is without a variant. */
const DEFAULTS = new Map([['arm', 'v7']]);
/** Variants that are not written out. */
const IMPLIED = new Map([
  ['amd64', 'v1'],
  ['arm64', 'v8'],
]);

/** The platform that `os`, `architecture` or `os/architecture[/variant]` names. Throws Problem, also for others than linux. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/');
  if (parts.length > 3 || !parts.every((part) => /^[a-z0-9_.-]{1,64}$/.test(part))) {
    throw new Problem(`platform ${quote(text)} is not OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT`);
  }
  const [first = '', second, third] = parts;
  const isSystem = SYSTEMS.includes(first);
  if (second === undefined && isSystem) return requireLinux({ ...hostPlatform(), os: first }, text);
  const [os, written, variant] = second === undefined ? ['linux', first, undefined] : [first, second, third];
  const [architecture, implied] = ALIASES.get(written) ?? [written];
  const own = variant ?? implied ?? DEFAULTS.get(architecture);
  const isPlain = own === undefined || own === IMPLIED.get(architecture);
  return requireLinux({ os, architecture, ...(isPlain ? {} : { variant: own }) }, text);
}

function requireLinux(platform: Platform, text: string): Platform {
  if (platform.os === 'linux') return platform;
  throw new Problem(`platform ${quote(text)} is not supported: images are built for linux`);
}
