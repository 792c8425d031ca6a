// Other nodes as a source of one image, for the time of one pull: who has it is asked once, who fails is not asked again.
import { backoffDelayMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { isNotFound, messageOf, WindlassError } from '../../lib/errors.ts';
import { digestMismatch, digestOf, splitDigest, type Digest } from '../digest.ts';
import { MANIFEST_LIMITS, type Descriptor } from '../manifest.ts';
import type { BlobSource } from './fetch-blob.ts';
import type { PeerTransport } from './peer-transport.ts';
import type { PeerSource } from './registry-client.ts';
import { readBody, type RegistryResponse } from './transport.ts';

const LOOK_MS = 10_000;
const MIN_BYTES_PER_SECOND = 32 * 1024;
/** A blob below this size is not worth asking round for, where no node has the whole image. */
const WORTH_A_LOOK_BYTES = 256 * 1024;
/** Statuses of one that has the blob and sends too much already. */
const BUSY = [429, 503];
/** How long an image that no registry has is waited for while all who have it are busy. */
const BUSY_MS = 120_000;

export interface PeerManifest {
  readonly bytes: Buffer;
  readonly mediaType: string | undefined;
}

export interface ImagePeers {
  /**
   * The manifest `source.digest` names, verified. NotFound when no node has it, or all that have it are busy, which is
   * waited for where no registry has the image.
   */
  manifest(signal: AbortSignal): Promise<PeerManifest>;
  /**
   * Has `use` fetch the blob from one node after the other until one call resolves. False when none did, and the registry
   * is to be asked; for an image that no registry has, NotFound.
   */
  fetch(descriptor: Descriptor, signal: AbortSignal, use: (source: BlobSource) => Promise<void>): Promise<boolean>;
}

/** What came of asking one after the other. */
interface Round<T> {
  /** Undefined when none helped. */
  readonly result?: T;
  /** One would have, at another time. */
  readonly isBusy: boolean;
  /** Of the last that was asked. */
  readonly error?: unknown;
}

/** Peers that `transport` answers for. `onReceived` counts bytes. */
export function createImagePeers(
  { transport, clock }: { readonly transport: PeerTransport; readonly clock: Clock },
  source: Omit<PeerSource, 'socket'>,
  onReceived: (bytes: number) => void,
): ImagePeers {
  const failed = new Set<string>();
  /** Of the image, by the digest that stands for all of it. */
  let holders: Promise<readonly string[]> | undefined;

  // Not bound to one caller: all layers of the pull want to know it. The other side answers within a second or two.
  const look = (digest: Digest): Promise<readonly string[]> =>
    transport.find(digest, source.first, AbortSignal.timeout(LOOK_MS)).catch((error: unknown) => {
      if (source.only) throw error;
      // Without the others there is still the registry.
      return [];
    });

  async function candidates({ digest, size }: Descriptor): Promise<string[]> {
    if (source.digest !== undefined) holders ??= look(source.digest);
    const ofImage = ((await holders) ?? []).filter((name) => !failed.has(name));
    if (ofImage.length > 0) return rotate(ofImage, digest);
    if (size < WORTH_A_LOOK_BYTES && !source.only) return [];
    return (await look(digest)).filter((name) => !failed.has(name));
  }

  const blobSource = (name: string, digest: Digest): BlobSource => ({
    name: `node ${name}`,
    maxStalledTries: 1,
    // A registry may be faster; where there is none, it is this or nothing.
    minBytesPerSecond: source.only ? 0 : MIN_BYTES_PER_SECOND,
    open: (offset, signal) => transport.open(name, digest, offset, signal),
    onReceived,
  });

  async function tryAll<T>(
    names: readonly string[],
    signal: AbortSignal,
    use: (name: string) => Promise<T>,
  ): Promise<Round<T>> {
    let round: Round<T> = { isBusy: false };
    for (const name of names) {
      try {
        return { isBusy: false, result: await use(name) };
      } catch (error) {
        signal.throwIfAborted();
        round = { isBusy: round.isBusy || isBusy(error), error };
        // One that is busy, or lacks this one blob, may still send others.
        if (!isBusy(error) && !isNotFound(error)) failed.add(name);
      }
    }
    return round;
  }

  async function readManifest(name: string, digest: Digest, signal: AbortSignal): Promise<PeerManifest> {
    const response = await transport.open(name, digest, 0, signal);
    const bytes = await readBody(response, MANIFEST_LIMITS.manifestBytes, `manifest ${digest} from node ${name}`);
    onReceived(bytes.length);
    const found = digestOf(bytes, splitDigest(digest).algorithm);
    if (found !== digest) throw digestMismatch(`manifest from node ${name}`, digest, found);
    return { bytes, mediaType: mediaTypeOf(response) };
  }

  /** Goes round until one has helped; where no registry has the image, again as long as any of them is just busy. */
  async function untilDone<T>(signal: AbortSignal, goRound: () => Promise<Round<T>>): Promise<Round<T>> {
    const startedAt = clock.now();
    for (let tries = 1; ; tries += 1) {
      const round = await goRound();
      const isWorthWaiting = source.only && round.isBusy && clock.now() - startedAt <= BUSY_MS;
      if (round.result !== undefined || !isWorthWaiting) return round;
      await clock.sleep(backoffDelayMs(tries, { initialMs: 200, maxMs: 3000, jitter: 0.5 }), signal);
      // Others may have it by now.
      holders = undefined;
    }
  }

  return {
    async manifest(signal) {
      const { digest } = source;
      if (digest === undefined) throw new WindlassError('Internal', 'the digest of the manifest is not known');
      const { result, error } = await untilDone(signal, async () => {
        holders ??= look(digest);
        const names = (await holders).filter((name) => !failed.has(name));
        return tryAll(names, signal, (name) => readManifest(name, digest, signal));
      });
      if (result !== undefined) return result;
      const why = error === undefined ? '' : `: ${messageOf(error)}`;
      throw new WindlassError('NotFound', `no other node that answers has manifest ${digest}${why}`, { cause: error });
    },
    async fetch(descriptor, signal, use) {
      const { result, error } = await untilDone(signal, async () =>
        tryAll(await candidates(descriptor), signal, async (name) => {
          await use(blobSource(name, descriptor.digest));
          return true as const;
        }),
      );
      if (result === true || !source.only) return result === true;
      if (error !== undefined) throw error;
      throw new WindlassError('NotFound', `no other node that answers has blob ${descriptor.digest}`);
    },
  };
}

const isBusy = (error: unknown): boolean =>
  error instanceof WindlassError && BUSY.includes(Number(error.details['status']));

/** Layers of one image come from several of those that have it. */
function rotate(names: readonly string[], digest: Digest): string[] {
  const start = Number.parseInt(splitDigest(digest).hex.slice(0, 8), 16) % names.length;
  return [...names.slice(start), ...names.slice(0, start)];
}

function mediaTypeOf({ headers }: RegistryResponse): string | undefined {
  const type = headers['content-type'];
  return typeof type === 'string' && type.startsWith('application/vnd.') ? type : undefined;
}
