// One line of a CRI log file: `<RFC 3339 time> <stdout|stderr> <P|F> <content>`.
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md

export interface LogLine {
  readonly timestamp: string;
  readonly stream: 'stdout' | 'stderr';
  /** True when the line goes on in the next entry of the file. */
  readonly partial: boolean;
  readonly content: Buffer;
}

const SPACE = 0x20;

/** Parses a line without its newline; undefined for one that is torn or foreign, which a reader skips. */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(SPACE);
  const second = first < 0 ? -1 : line.indexOf(SPACE, first + 1);
  if (second < 0) return undefined;
  const third = line.indexOf(SPACE, second + 1);
  const timestamp = line.toString('latin1', 0, first);
  const stream = line.toString('latin1', first + 1, second);
  const tags = line.toString('latin1', second + 1, third < 0 ? line.length : third);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  // Further tags may follow the first one, separated by colons.
  const tag = tags.split(':')[0];
  if ((tag !== 'F' && tag !== 'P') || Number.isNaN(Date.parse(timestamp))) return undefined;
  return { timestamp, stream, partial: tag === 'P', content: third < 0 ? Buffer.alloc(0) : line.subarray(third + 1) };
}
