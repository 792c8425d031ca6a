// The channel protocol of exec and attach (k8s.io/apimachinery, remotecommand constants): over WebSocket every message
// starts with a channel byte, over SPDY every channel is a stream.
import type { SessionEnd, TerminalSize } from './client-streams.ts';

/** Over WebSocket: v5 is v4 with a message that closes a channel. */
export const WEBSOCKET_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;
/** Over SPDY: without a number is the first, v3 added resize, v4 the Status object. */
export const SPDY_PROTOCOLS = [
  ...WEBSOCKET_PROTOCOLS,
  ...(['v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'] as const),
] as const;

export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

export type ClientMessage =
  | { readonly kind: 'stdin'; readonly data: Buffer }
  | { readonly kind: 'resize'; readonly size: TerminalSize }
  | { readonly kind: 'closeStdin' };

/** What a client's message says; undefined for one that means nothing (or that v4 does not have). */
export function parseClientMessage(message: Buffer, protocol: string): ClientMessage | undefined {
  const data = message.subarray(1);
  if (message[0] === CHANNEL.stdin) return { kind: 'stdin', data };
  if (message[0] === CHANNEL.close && protocol === WEBSOCKET_PROTOCOLS[0]) {
    return data[0] === CHANNEL.stdin ? { kind: 'closeStdin' } : undefined;
  }
  const size = message[0] === CHANNEL.resize ? parseResize(data.toString('utf8')) : undefined;
  return size && { kind: 'resize', size };
}

/** The size in `{"Width":80,"Height":24}`; undefined for anything else. */
export function parseResize(text: string): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(text) as { Width?: unknown; Height?: unknown };
    const isSize = (value: unknown): value is number =>
      Number.isInteger(value) && Number(value) > 0 && Number(value) < 65536;
    return isSize(Width) && isSize(Height) ? { columns: Width, rows: Height } : undefined;
  } catch {
    // A damaged resize leaves the terminal as it is.
    return undefined;
  }
}

/** The message that carries bytes on a channel. */
export function frame(channel: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(channel), data]);
}

/** The end in words, for protocols before v4: nothing where all went well. */
export function statusText(end: SessionEnd): string {
  if (end.kind === 'failure') return end.message;
  return end.code === 0 ? '' : `command terminated with non-zero exit code: exit code ${end.code}`;
}

/** metav1.Status of an exec's end, for the error channel. */
export function exitStatus(exitCode: number): object {
  if (exitCode === 0) return { metadata: {}, status: 'Success' };
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit code ${exitCode}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  };
}

/** metav1.Status of an exec that could not be run. */
export function failureStatus(message: string): object {
  return { metadata: {}, status: 'Failure', message, reason: 'InternalError', code: 500 };
}
