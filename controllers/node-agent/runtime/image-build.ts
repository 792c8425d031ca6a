// A build of an image in the agent's own words: what the runtime is asked for, what it tells meanwhile, what comes of it.
import type { BuildFailure } from '../../../cri/node-messages.ts';
import type { Credentials } from './node-runtime.ts';

/** A build of an image, as the runtime takes it. */
export interface ImageBuild {
  /** One build of a name at a time. */
  readonly id: string;
  readonly context:
    | { readonly kind: 'inline'; readonly files: Readonly<Record<string, string>> }
    | { readonly kind: 'hostPath'; readonly path: string }
    | { readonly kind: 'archive'; readonly digest: string }
    | { readonly kind: 'git'; readonly url: string };
  readonly dockerfile: string;
  readonly dockerfileInline?: string | undefined;
  readonly target?: string | undefined;
  readonly args: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly secrets: readonly { readonly id: string; readonly data: Buffer }[];
  readonly noCache: boolean;
  readonly pull: boolean;
  readonly platform?: string | undefined;
  readonly references: readonly string[];
  /** Id of the network of RUN instructions; absent = loopback alone. */
  readonly network?: string | undefined;
  readonly cacheFrom: readonly string[];
  readonly cacheTo?: string | undefined;
  readonly credentials: readonly (Credentials & { readonly registry: string })[];
}

export type BuildEvent =
  /** Whole lines of the log. */
  | { readonly kind: 'log'; readonly text: string }
  | { readonly kind: 'step'; readonly step: number; readonly steps: number; readonly instruction: string };

export type BuildOutcome =
  | {
      readonly kind: 'built';
      readonly digest: string;
      readonly cachedSteps: number;
      /** Of a git context; '' else. */
      readonly commit: string;
    }
  | ({ readonly kind: 'failed' } & BuildFailure);
