// The builder, loaded when the first image is built: most nodes never build one, and its code takes memory at rest.
import type { BuildCacheUsage, ImageBuilder } from './image-builder.ts';

export interface OpenedBuilder extends AsyncDisposable {
  readonly builder: ImageBuilder;
}

export interface LazyBuilderOptions {
  /** Whether an earlier process has built something: then there may be something to recover, and a cache to keep. */
  readonly wasUsed: boolean;
  readonly open: () => Promise<OpenedBuilder>;
}

const EMPTY: BuildCacheUsage = { entries: 0, sizeBytes: 0, sharedBytes: 0 };

/** A builder that `open` makes when it is needed; one that could not be opened is tried again with the next call. */
export function createLazyBuilder({ wasUsed, open }: LazyBuilderOptions): OpenedBuilder {
  let opening: Promise<OpenedBuilder> | undefined;
  const get = async (): Promise<ImageBuilder> => {
    opening ??= open();
    try {
      return (await opening).builder;
    } catch (error) {
      opening = undefined;
      throw error;
    }
  };
  return {
    builder: {
      build: async (request, options) => (await get()).build(request, options),
      cacheUsage: async () => (opening ? (await get()).cacheUsage() : EMPTY),
      pruneCache: async (keepBytes) => (opening ? (await get()).pruneCache(keepBytes) : 0),
      async recover() {
        if (wasUsed) await (await get()).recover();
      },
    },
    async [Symbol.asyncDispose]() {
      await (await opening?.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}
