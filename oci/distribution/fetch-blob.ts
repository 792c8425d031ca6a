// One blob from one source into the content store: what is there is kept, what was cut off goes on where it ended.
import { backoffDelayMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { ContentStore } from '../content-store.ts';
import type { Ingest } from '../ingest.ts';
import type { Descriptor } from '../manifest.ts';
import type { BlobCall } from './registry-client.ts';
import { networkProblem, type RegistryResponse } from './transport.ts';

const PACE_MS = 10_000;

/** Who can send a blob: an endpoint of its registry, or another node. */
export interface BlobSource {
  /** For messages: `registry docker.io`, `node node-2`. */
  readonly name: string;
  /** Tries without a single new byte before it is given up. */
  readonly maxStalledTries: number;
  /** Given up when less came in ten seconds; 0 = whatever comes is welcome. */
  readonly minBytesPerSecond: number;
  /** The answer, of status 200 or 206, with what comes after `offset` bytes. A refusal has details.status. */
  open(offset: number, signal: AbortSignal): Promise<RegistryResponse>;
  /** Told how many bytes came, at the end of each answer. */
  onReceived(bytes: number): void;
}

export type BlobFetcher = (
  source: BlobSource,
  descriptor: Descriptor,
  store: ContentStore,
  call: Pick<BlobCall, 'signal' | 'onProgress'>,
) => Promise<void>;

/** A fetcher; its caller sees to it that a digest is fetched once at a time. */
export function createBlobFetcher({
  clock,
  retryDelayMs,
}: {
  readonly clock: Clock;
  readonly retryDelayMs: number;
}): BlobFetcher {
  return async (source, descriptor, store, call) => {
    await using ingest = closing(await store.openIngest(descriptor.digest, descriptor.size));
    const isResumed = ingest.value.offset > 0;
    try {
      await fillFrom(source, descriptor, ingest.value, call);
    } catch (error) {
      // What an earlier try left may have been the damaged part; commit() deleted it.
      if (!isResumed || !(error instanceof WindlassError && error.details['found'] !== undefined)) throw error;
      await using fresh = closing(await store.openIngest(descriptor.digest, descriptor.size));
      await fillFrom(source, descriptor, fresh.value, call);
    }
  };

  async function fillFrom(
    source: BlobSource,
    descriptor: Descriptor,
    ingest: Ingest,
    call: Pick<BlobCall, 'signal' | 'onProgress'>,
  ): Promise<void> {
    let stalled = 0;
    // An empty blob needs no request, and a complete one was interrupted just before its commit.
    while (ingest.offset < descriptor.size) {
      const before = ingest.offset;
      try {
        await receive(source, ingest, call, clock);
        if (ingest.offset < descriptor.size) throw new Error('the body ended early');
      } catch (error) {
        if (call.signal.aborted) throw call.signal.reason;
        if (error instanceof WindlassError) throw error;
        stalled = ingest.offset > before ? 1 : stalled + 1;
        if (stalled >= source.maxStalledTries) {
          throw new WindlassError(
            'Unavailable',
            `blob ${descriptor.digest} from ${source.name} was cut off at ${ingest.offset} of ` +
              `${descriptor.size} bytes: ${networkProblem(error)}`,
            { cause: error },
          );
        }
        await clock.sleep(backoffDelayMs(stalled, { initialMs: retryDelayMs, maxMs: 4000, jitter: 0.2 }), call.signal);
      }
    }
    try {
      await ingest.commit();
    } catch (error) {
      if (!(error instanceof WindlassError)) throw error;
      const message = `${error.message} (from ${source.name})`;
      throw new WindlassError(error.reason, message, { details: error.details, cause: error });
    }
  }
}

async function receive(
  source: BlobSource,
  ingest: Ingest,
  call: Pick<BlobCall, 'signal' | 'onProgress'>,
  clock: Clock,
): Promise<void> {
  let response: RegistryResponse;
  try {
    response = await source.open(ingest.offset, call.signal);
  } catch (error) {
    // 416 or a proxy that cannot do ranges: what is there may be wrong, so begin again.
    if (ingest.offset > 0 && error instanceof WindlassError && error.details['status'] === 416) {
      await ingest.reset();
      return await receive(source, ingest, call, clock);
    }
    throw error;
  }
  const range = /^bytes (\d+)-/.exec(String(response.headers['content-range'] ?? ''));
  const isContinuation = response.status === 206 && Number(range?.[1]) === ingest.offset;
  if (response.status === 206 && !isContinuation) {
    response.body.destroy();
    await ingest.reset();
    throw new Error('the answer is not the range that was asked for');
  }
  if (!isContinuation && ingest.offset > 0) await ingest.reset();
  let received = 0;
  let window = { startedAt: clock.now(), bytes: 0 };
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      received += chunk.length;
      await ingest.write(chunk);
      call.onProgress?.(ingest.offset);
      window.bytes += chunk.length;
      const elapsedMs = clock.now() - window.startedAt;
      if (elapsedMs >= PACE_MS) {
        const rate = (window.bytes * 1000) / elapsedMs;
        if (rate < source.minBytesPerSecond) throw new Error(`only ${Math.round(rate)} bytes came in a second`);
        window = { startedAt: clock.now(), bytes: 0 };
      }
    }
  } finally {
    source.onReceived(received);
    response.body.destroy();
  }
}

function closing(value: Ingest): AsyncDisposable & { readonly value: Ingest } {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}
