// Which image of an index fits a machine.
import { arch } from 'node:process';
import { WindlassError } from '../lib/errors.ts';
import { parseManifest, MANIFEST_LIMITS, type Descriptor, type Manifest, type Platform } from './manifest.ts';
import { INDEX_TYPES, MANIFEST_TYPES } from './media-types.ts';

const ARCHITECTURES: Readonly<Record<string, Platform>> = {
  x64: { os: 'linux', architecture: 'amd64' },
  arm64: { os: 'linux', architecture: 'arm64', variant: 'v8' },
  arm: { os: 'linux', architecture: 'arm', variant: 'v7' },
  ia32: { os: 'linux', architecture: '386' },
  ppc64: { os: 'linux', architecture: 'ppc64le' },
  s390x: { os: 'linux', architecture: 's390x' },
  riscv64: { os: 'linux', architecture: 'riscv64' },
};

/** The platform of this machine in OCI's words. */
export function hostPlatform(): Platform {
  return ARCHITECTURES[arch] ?? { os: 'linux', architecture: arch };
}

/**
 * How well `candidate` runs on `wanted`: 0 not at all, otherwise higher is better. A machine runs its own variant and
 * older ones; an absent variant is the oldest (amd64, arm) or the only one (arm64: v8).
 */
export function platformScore(candidate: Platform | undefined, wanted: Platform): number {
  if (candidate === undefined) return 1;
  if (candidate.os !== wanted.os || candidate.architecture !== wanted.architecture) return 0;
  const level = (platform: Platform): number => {
    const match = /^v([0-9]{1,2})$/.exec(platform.variant ?? '');
    if (match) return Number(match[1]);
    if (platform.architecture === 'arm64') return 8;
    return platform.architecture === 'arm' ? 5 : 1;
  };
  const candidateLevel = level(candidate);
  return candidateLevel > level(wanted) ? 0 : 1 + candidateLevel;
}

/** `os/architecture[/variant]`; Invalid for anything else. */
export function parsePlatform(text: string): Platform {
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text.toLowerCase()) ?? [];
  if (os === undefined || architecture === undefined) {
    throw new WindlassError('Invalid', `platform: want os/architecture[/variant], not ${JSON.stringify(text)}`);
  }
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

export interface SelectedManifest {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
}

/**
 * Follows `descriptor` through indexes (which may be nested) to the manifest that fits best. `read` gives the verified
 * bytes of a document. NotFound names the platforms there are.
 */
export async function selectManifest(
  descriptor: Descriptor,
  read: (descriptor: Descriptor) => Promise<Buffer>,
  wanted: Platform,
  depth = 0,
): Promise<SelectedManifest> {
  const what = `manifest ${descriptor.digest}`;
  if (depth > MANIFEST_LIMITS.indexDepth) {
    throw new WindlassError(
      'Invalid',
      `invalid ${what}: indexes are nested more than ${MANIFEST_LIMITS.indexDepth} deep`,
    );
  }
  const parsed = parseManifest(await read(descriptor), descriptor.mediaType, what);
  if (parsed.kind === 'manifest') {
    return { descriptor: { ...descriptor, mediaType: parsed.mediaType }, manifest: parsed.manifest };
  }
  const candidates = rankManifests(parsed.index.manifests, wanted);
  for (const candidate of candidates) {
    try {
      return await selectManifest(candidate, read, wanted, depth + 1);
    } catch (error) {
      if (!(error instanceof WindlassError && error.reason === 'NotFound' && candidate !== candidates.at(-1)))
        throw error;
    }
  }
  const there = parsed.index.manifests
    .slice(0, 20)
    .map(({ platform }) => (platform ? platformName(platform) : 'unknown'));
  throw new WindlassError(
    'NotFound',
    `no image for ${platformName(wanted)} in ${what}; it has ${[...new Set(there)].join(', ') || 'nothing'}`,
  );
}

/** The entries of an index that fit, best first; others than manifests and indexes are left out. */
export function rankManifests(manifests: readonly Descriptor[], wanted: Platform): Descriptor[] {
  return manifests
    .filter(({ mediaType }) => MANIFEST_TYPES.includes(mediaType) || INDEX_TYPES.includes(mediaType))
    .map((entry) => ({ entry, score: platformScore(entry.platform, wanted) }))
    .filter(({ score }) => score > 0)
    .toSorted((a, b) => b.score - a.score)
    .map(({ entry }) => entry);
}

/** `linux/arm/v7` */
export function platformName({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== undefined && part !== '').join('/');
}
