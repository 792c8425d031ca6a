// The part of the DNS wire format (RFC 1035) that a resolver for container names needs: read one question, write
// addresses and names back. Questions come from containers and are not trusted.
import { formatAddress } from '../../../lib/ip-address.ts';

export const TYPE = { a: 1, soa: 6, ptr: 12, aaaa: 28, opt: 41, any: 255 } as const;
export const RCODE = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;

const CLASS_IN = 1;
export const HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;

export interface Question {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** Lower case, without the final dot. */
  readonly name: string;
  readonly type: number;
  /** Question section as it came, to be echoed (its letter case is a client's protection against spoofing). */
  readonly section: Buffer;
  /** Largest answer over UDP. */
  readonly udpBytes: number;
}

/** What is wrong with a message, as a code to answer with; undefined = not worth an answer. */
export type QuestionResult =
  | { readonly kind: 'question'; readonly question: Question }
  | { readonly kind: 'bad'; readonly id: number; readonly rcode: number }
  | { readonly kind: 'ignore' };

/** Reads a query with exactly one question. Compression has no place in a question and is refused. */
export function parseQuestion(bytes: Buffer): QuestionResult {
  if (bytes.length < HEADER_BYTES) return { kind: 'ignore' };
  const id = bytes.readUInt16BE(0);
  const flags = bytes.readUInt16BE(2);
  const isResponse = (flags & 0x8000) !== 0;
  if (isResponse) return { kind: 'ignore' };
  if (((flags >> 11) & 0xf) !== 0) return { kind: 'bad', id, rcode: RCODE.notImplemented };
  if (bytes.readUInt16BE(4) !== 1) return { kind: 'bad', id, rcode: RCODE.formatError };
  const name = readName(bytes, HEADER_BYTES);
  if (!name || name.end + 4 > bytes.length) return { kind: 'bad', id, rcode: RCODE.formatError };
  if (bytes.readUInt16BE(name.end + 2) !== CLASS_IN) return { kind: 'bad', id, rcode: RCODE.refused };
  const end = name.end + 4;
  return {
    kind: 'question',
    question: {
      id,
      recursionDesired: (flags & 0x0100) !== 0,
      name: name.text.toLowerCase(),
      type: bytes.readUInt16BE(name.end),
      section: Buffer.from(bytes.subarray(HEADER_BYTES, end)),
      udpBytes: readUdpSize(bytes, end),
    },
  };
}

function readName(bytes: Buffer, start: number): { text: string; end: number } | undefined {
  const labels: string[] = [];
  for (let offset = start; offset < bytes.length;) {
    const length = bytes[offset] ?? 0;
    if (length === 0) return { text: labels.join('.'), end: offset + 1 };
    const end = offset + 1 + length;
    if (length > MAX_LABEL_BYTES || end >= bytes.length || end - start >= MAX_NAME_BYTES) return undefined;
    labels.push(bytes.toString('latin1', offset + 1, end));
    offset = end;
  }
  return undefined;
}

/** The size that an EDNS record (RFC 6891) directly after the question offers; 512 without one. */
function readUdpSize(bytes: Buffer, offset: number): number {
  const isOpt = bytes.length >= offset + 5 && bytes[offset] === 0 && bytes.readUInt16BE(offset + 1) === TYPE.opt;
  return isOpt ? Math.min(Math.max(bytes.readUInt16BE(offset + 3), 512), 4096) : 512;
}

export interface Answer {
  readonly type: number;
  readonly data: Buffer;
}

const TTL_SECONDS = 5;
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;

/** An authoritative answer; longer than `maxBytes` becomes an empty one with the truncation bit (ask again by TCP). */
export function encodeAnswer(question: Question, rcode: number, answers: readonly Answer[], maxBytes: number): Buffer {
  const records = answers.map(({ type, data }) => {
    const head = Buffer.alloc(12);
    head.writeUInt16BE(POINTER_TO_QUESTION, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt16BE(CLASS_IN, 4);
    head.writeUInt32BE(TTL_SECONDS, 6);
    head.writeUInt16BE(data.length, 10);
    return Buffer.concat([head, data]);
  });
  const size = HEADER_BYTES + question.section.length + records.reduce((sum, { length }) => sum + length, 0);
  const isTruncated = size > maxBytes;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(question.id, 0);
  // QR, AA, TC, RD as asked, RA, rcode.
  header.writeUInt16BE(0x8480 | (isTruncated ? 0x0200 : 0) | (question.recursionDesired ? 0x0100 : 0) | rcode, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(isTruncated ? 0 : answers.length, 6);
  return Buffer.concat([header, question.section, ...(isTruncated ? [] : records)]);
}

/** An error to a message whose question could not be read. */
export function encodeError(id: number, rcode: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x8080 | rcode, 2);
  return header;
}

/** A name as labels. */
export function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(label, 'latin1').subarray(0, MAX_LABEL_BYTES));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
}

/** The address asked for by `4.3.2.1.in-addr.arpa`, or by 32 digits below `ip6.arpa` (RFC 3596); undefined for any other name. */
export function reverseAddress(name: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (match) return match.slice(1).toReversed().join('.');
  const digits = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1];
  return digits && formatAddress(Buffer.from(digits.split('.').toReversed().join(''), 'hex'));
}
