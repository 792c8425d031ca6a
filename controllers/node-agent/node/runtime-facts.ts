// What the runtime says about itself beyond CRI, for the Node: asked for when it connects, and again now and then, as the
// key for encrypted networks does not stay for ever.
import type { Clock } from '../../../lib/clock.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import {
  ENCRYPTION_KEY_ANNOTATION,
  ENCRYPTION_LACKS_ANNOTATION,
  RUNTIME_FEATURES_ANNOTATION,
} from '../../runtime/object-key.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';

const LOOK_MS = 10_000;

type Described = Awaited<ReturnType<NodeRuntime['describe']>>;

export interface RuntimeFacts extends RunPart {
  /** Asks now, and returns the answer. */
  read(): Promise<Described>;
  /** What the Node says of it. */
  annotations(): Readonly<Record<string, string>>;
}

/** `onChange` is called when the annotations are others than before. */
export function createRuntimeFacts(deps: {
  readonly runtime: Pick<NodeRuntime, 'describe'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onChange: () => void;
}): RuntimeFacts {
  const { runtime, clock, log, onChange } = deps;
  let said: Readonly<Record<string, string>> = { [RUNTIME_FEATURES_ANNOTATION]: '' };
  let isConnected = false;

  async function read(): Promise<Described> {
    const described = await runtime.describe();
    isConnected = true;
    const next = {
      [RUNTIME_FEATURES_ANNOTATION]: described.features.join(','),
      [ENCRYPTION_KEY_ANNOTATION]: described.encryptionKey,
      [ENCRYPTION_LACKS_ANNOTATION]: described.encryptionLacks,
    };
    if (JSON.stringify(next) !== JSON.stringify(said)) {
      said = next;
      onChange();
    }
    return described;
  }

  return {
    name: 'runtime facts',
    read,
    annotations: () => said,
    async run(signal) {
      while (!signal.aborted) {
        await clock.sleep(LOOK_MS, signal).catch(() => undefined);
        // The first time is when it connects.
        if (signal.aborted || !isConnected) continue;
        await read().catch((error: unknown) => log.debug({ message: messageOf(error) }, 'the runtime does not answer'));
      }
    },
  };
}
