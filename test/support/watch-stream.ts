// A watch over HTTP, frame by frame.
import { request } from 'node:https';
import type { TestApiserver } from './apiserver.ts';
import { waitFor } from './wait.ts';

export interface Frame {
  readonly type: string;
  readonly object: {
    readonly kind: string;
    readonly metadata?: {
      readonly name?: string;
      readonly resourceVersion?: string;
      readonly annotations?: Record<string, string>;
    };
    readonly [key: string]: unknown;
  };
}

export interface WatchStream {
  readonly frames: readonly Frame[];
  readonly ended: boolean;
  /** Waits until there are `count` frames. */
  until(count: number): Promise<readonly Frame[]>;
  close(): void;
}

/** Opens `path` (with watch=true in it) as the administrator. */
export async function openWatch(
  api: TestApiserver,
  path: string,
  headers: Record<string, string> = {},
): Promise<WatchStream> {
  const frames: Frame[] = [];
  const state = { ended: false };
  const { cert, key } = api.admin;
  const outgoing = request(api.url + path, { ca: api.ca, cert, key, headers });
  outgoing.on('error', () => {
    state.ended = true;
  });
  await new Promise<void>((resolve, reject) => {
    outgoing.on('response', (response) => {
      let rest = '';
      response.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') frames.push(JSON.parse(line) as Frame);
      });
      for (const end of ['end', 'close', 'error']) response.on(end, () => (state.ended = true));
      if (response.statusCode === 200) resolve();
      else reject(new Error(`watch answered ${response.statusCode}`));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
  return {
    frames,
    get ended() {
      return state.ended;
    },
    async until(count) {
      await waitFor(() => frames.length >= count, { what: `${count} frames (there are ${frames.length})` });
      return frames;
    },
    close: () => outgoing.destroy(),
  };
}
