// Answers of the host's resolvers, kept as long as their records allow (RFC 2181, 5.2; RFC 2308 for "no such name" and
// "no such record"). Bounded in entries and bytes; what was not asked for longest goes first.
import { HEADER_BYTES, RCODE, TYPE, type Question } from './message.ts';

const MAX_TTL_SECONDS = 3600;
const MAX_NEGATIVE_TTL_SECONDS = 300;
const MAX_ANSWER_BYTES = 8192;

export interface AnswerCache {
  /** The kept answer for this asker: his id and spelling of the name, lifetimes as they are now. */
  get(key: string, question: Question): Buffer | undefined;
  /** Keeps an answer to that question, if it may be kept. */
  put(key: string, answer: Buffer): void;
  clear(): void;
}

interface Entry {
  readonly answer: Buffer;
  readonly storedAtMs: number;
  readonly expiresAtMs: number;
  /** Where the lifetimes of the records stand. */
  readonly ttlOffsets: readonly number[];
}

export interface AnswerCacheOptions {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly maxEntries?: number;
  readonly maxBytes?: number;
}

/** An empty cache. */
export function createAnswerCache({
  now,
  maxEntries = 4096,
  maxBytes = 4 * 1024 * 1024,
}: AnswerCacheOptions): AnswerCache {
  // A Map remembers the order of insertion: what is used is inserted anew, so that the first is the oldest.
  const entries = new Map<string, Entry>();
  let bytes = 0;
  const drop = (key: string, entry: Entry): void => {
    entries.delete(key);
    bytes -= key.length + entry.answer.length;
  };
  return {
    get(key, question) {
      const entry = entries.get(key);
      if (!entry) return undefined;
      if (entry.expiresAtMs <= now()) {
        drop(key, entry);
        return undefined;
      }
      entries.delete(key);
      entries.set(key, entry);
      return renew(entry, question, now());
    },
    put(key, answer) {
      const life = lifeOf(answer);
      if (life === undefined || answer.length > MAX_ANSWER_BYTES) return;
      const before = entries.get(key);
      if (before) drop(key, before);
      const storedAtMs = now();
      const { seconds, ttlOffsets } = life;
      entries.set(key, {
        answer: Buffer.from(answer),
        storedAtMs,
        expiresAtMs: storedAtMs + seconds * 1000,
        ttlOffsets,
      });
      bytes += key.length + answer.length;
      for (const [oldest, entry] of entries) {
        if (entries.size <= maxEntries && bytes <= maxBytes) break;
        drop(oldest, entry);
      }
    },
    clear() {
      entries.clear();
      bytes = 0;
    },
  };
}

function renew({ answer, storedAtMs, ttlOffsets }: Entry, question: Question, nowMs: number): Buffer {
  const copy = Buffer.from(answer);
  copy.writeUInt16BE(question.id, 0);
  question.section.copy(copy, HEADER_BYTES);
  const age = Math.floor((nowMs - storedAtMs) / 1000);
  for (const offset of ttlOffsets) copy.writeUInt32BE(Math.max(0, copy.readUInt32BE(offset) - age), offset);
  return copy;
}

/**
 * For how long a whole answer to one question may be kept, and where its lifetimes stand; undefined when it may not be:
 * cut off, a failure, "no" without the SOA record that says for how long, or no well-formed message. Pure.
 */
export function lifeOf(answer: Buffer): { seconds: number; ttlOffsets: readonly number[] } | undefined {
  if (answer.length < HEADER_BYTES) return undefined;
  const isTruncated = ((answer[2] ?? 0) & 0x02) !== 0;
  const rcode = (answer[3] ?? 0) & 0x0f;
  if (isTruncated || (rcode !== RCODE.noError && rcode !== RCODE.nameError)) return undefined;
  if (answer.readUInt16BE(4) !== 1) return undefined;
  const answers = answer.readUInt16BE(6);
  const authorities = answer.readUInt16BE(8);
  const total = answers + authorities + answer.readUInt16BE(10);
  let offset = skipName(answer, HEADER_BYTES) + 4;
  let [seconds, negative] = [MAX_TTL_SECONDS, -1];
  const ttlOffsets: number[] = [];
  for (let index = 0; index < total; index += 1) {
    const start = skipName(answer, offset);
    if (!Number.isFinite(start) || start + 10 > answer.length) return undefined;
    const type = answer.readUInt16BE(start);
    const ttl = answer.readUInt32BE(start + 4);
    const end = start + 10 + answer.readUInt16BE(start + 8);
    if (end > answer.length) return undefined;
    if (type !== TYPE.opt) {
      ttlOffsets.push(start + 4);
      // The highest bit set means zero (RFC 2181, 8).
      seconds = Math.min(seconds, ttl > 0x7fffffff ? 0 : ttl);
    }
    if (type === TYPE.soa && index >= answers && index < answers + authorities && end - start >= 14)
      negative = Math.min(ttl, answer.readUInt32BE(end - 4), MAX_NEGATIVE_TTL_SECONDS);
    offset = end;
  }
  const isNegative = rcode === RCODE.nameError || answers === 0;
  const life = isNegative ? Math.min(seconds, negative) : seconds;
  return life > 0 ? { seconds: life, ttlOffsets } : undefined;
}

/** Offset behind the name at `offset`; Infinity when it leaves the message. Pointers are not followed. */
function skipName(bytes: Buffer, offset: number): number {
  for (let at = offset; at < bytes.length;) {
    const length = bytes[at] ?? 0;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > 63) return Infinity;
    at += 1 + length;
  }
  return Infinity;
}
