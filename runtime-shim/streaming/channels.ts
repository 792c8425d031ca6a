// The channel protocol of exec over WebSocket (v4 and v5.channel.k8s.io): every message starts with a channel byte.

export const PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

export type ClientMessage =
  | { readonly kind: 'stdin'; readonly data: Buffer }
  | { readonly kind: 'resize'; readonly columns: number; readonly rows: number }
  | { readonly kind: 'closeStdin' };

/** What a client's message says; undefined for one that means nothing (or that v4 does not have). */
export function parseClientMessage(message: Buffer, protocol: string): ClientMessage | undefined {
  const data = message.subarray(1);
  if (message[0] === CHANNEL.stdin) return { kind: 'stdin', data };
  if (message[0] === CHANNEL.close && protocol === PROTOCOLS[0]) {
    return data[0] === CHANNEL.stdin ? { kind: 'closeStdin' } : undefined;
  }
  return message[0] === CHANNEL.resize ? parseResize(data) : undefined;
}

function parseResize(data: Buffer): ClientMessage | undefined {
  try {
    const { Width, Height } = JSON.parse(data.toString('utf8')) as { Width?: unknown; Height?: unknown };
    const isSize = (value: unknown): value is number =>
      Number.isInteger(value) && Number(value) > 0 && Number(value) < 65536;
    return isSize(Width) && isSize(Height) ? { kind: 'resize', columns: Width, rows: Height } : undefined;
  } catch {
    // A damaged resize leaves the terminal as it is.
    return undefined;
  }
}

/** The message that carries bytes on a channel. */
export function frame(channel: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(channel), data]);
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
