// What a one-shot URL stands for.
import type { StreamSet } from './client-streams.ts';

export interface ExecTarget extends StreamSet {
  readonly kind: 'exec';
  readonly containerId: string;
  readonly command: readonly string[];
}

export interface AttachTarget extends StreamSet {
  readonly kind: 'attach';
  readonly containerId: string;
}

export interface PortForwardTarget {
  readonly kind: 'portforward';
  readonly sandboxId: string;
  /** Ports that may be forwarded; none = any. */
  readonly ports: readonly number[];
}

export type StreamTarget = ExecTarget | AttachTarget | PortForwardTarget;
