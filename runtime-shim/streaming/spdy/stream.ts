// One stream of a SPDY connection as a Duplex of Node: `end()` and 'end' are the two halves' FLAG_FIN, `destroy()` is a
// reset. What is unread is bounded by the window, or by not reading the connection where the peer knows no windows.
import { Duplex } from 'node:stream';
import { INITIAL_WINDOW_BYTES, MAX_WINDOW_BYTES } from './frames.ts';
import type { Headers } from './header-blocks.ts';

/** Largest piece of a write that goes into one frame, so that streams take turns. */
const MAX_FRAME_BYTES = 32 * 1024;
/** What the reader's side of the Duplex holds beyond what waits here. */
const READER_BYTES = 16 * 1024;
/** Bytes taken by the reader before the peer is told that it may send more. */
const CREDIT_BYTES = INITIAL_WINDOW_BYTES / 2;

/** What a stream wants of its connection. */
export interface StreamLink {
  /** Bytes that the connection lets a stream send now; Infinity for a peer without windows. */
  sendRoom(stream: SpdyStream): number;
  sendData(stream: SpdyStream, data: Buffer, isLast: boolean, done?: (error?: Error | null) => void): void;
  sendReset(stream: SpdyStream): void;
  /** False while the peer leaves unread what it was told before. */
  canCredit(): boolean;
  /** The reader took these bytes, or will never: `credit` of them are to be told to the peer. */
  onTaken(stream: SpdyStream, bytes: number, credit: number): void;
  /** Neither side will send on it any more. */
  onFinished(stream: SpdyStream): void;
}

export class SpdyStream {
  readonly id: number;
  readonly headers: Headers;
  readonly duplex: Duplex;
  /** What may still be sent, and be received; below zero with a peer that knows no windows. */
  sendWindow: number;
  receiveWindow = INITIAL_WINDOW_BYTES;
  readonly #link: StreamLink;
  #isSent = false;
  #isReceived = false;
  #isReset = false;
  /** What came and the reader has not asked for yet. */
  readonly #queue: Buffer[] = [];
  #unread = 0;
  #isWanted = false;
  #isEndGiven = false;
  #uncredited = 0;
  #writing: { data: Buffer; readonly done: (error?: Error | null) => void } | undefined;

  constructor(id: number, headers: Headers, link: StreamLink, sendWindow: number) {
    this.id = id;
    this.headers = headers;
    this.sendWindow = sendWindow;
    this.#link = link;
    this.duplex = new Duplex({
      readableHighWaterMark: READER_BYTES,
      writableHighWaterMark: INITIAL_WINDOW_BYTES,
      read: () => {
        this.#isWanted = true;
        this.#handOver();
      },
      write: (data: Buffer, _encoding, done) => {
        this.#writing = { data, done };
        this.continueWriting();
      },
      final: (done) => {
        this.#isSent = true;
        this.#link.sendData(this, Buffer.alloc(0), true, done);
        this.#finishIfDone();
      },
      destroy: (error, done) => {
        this.#onDestroy();
        done(error);
      },
    });
    // Whoever uses the stream sees 'close'; a reset is no failure of this process.
    this.duplex.on('error', () => undefined);
  }

  /** Bytes that came and that nobody has read yet. */
  get unread(): number {
    return this.#unread;
  }

  /** Takes what the peer sent. */
  receive(data: Buffer, isLast: boolean): void {
    this.receiveWindow -= data.length;
    this.#unread += data.length;
    if (data.length > 0) this.#queue.push(data);
    this.#isReceived ||= isLast;
    if (this.#isWanted) this.#handOver();
    if (isLast) this.#finishIfDone();
  }

  get isReceived(): boolean {
    return this.#isReceived;
  }

  /** The peer allows more; false when that is more than a window can be. */
  allow(bytes: number): boolean {
    this.sendWindow += bytes;
    if (this.sendWindow > MAX_WINDOW_BYTES) return false;
    this.continueWriting();
    return true;
  }

  /** Sends what waits, as far as the windows let it. */
  continueWriting(): void {
    while (this.#writing) {
      const { data, done } = this.#writing;
      const room = Math.min(this.#link.sendRoom(this), MAX_FRAME_BYTES);
      if (room <= 0) return;
      const piece = data.subarray(0, room);
      const isAll = piece.length === data.length;
      this.#writing = isAll ? undefined : { data: data.subarray(room), done };
      this.#link.sendData(this, piece, false, isAll ? done : undefined);
    }
  }

  /** Ends it without a word to the peer, who has reset it or is gone. */
  drop(): void {
    this.#isReset = true;
    this.duplex.destroy();
  }

  /** Gives the reader what it has room for; that counts as read. */
  #handOver(): void {
    let taken = 0;
    while (this.#isWanted && this.#queue.length > 0) {
      const data = this.#queue.shift() ?? Buffer.alloc(0);
      taken += data.length;
      this.#isWanted = this.duplex.push(data);
    }
    if (this.#queue.length === 0 && this.#isReceived && !this.#isEndGiven) {
      this.#isEndGiven = true;
      this.duplex.push(null);
    }
    if (taken === 0) return;
    this.#unread -= taken;
    this.#uncredited += taken;
    this.#link.onTaken(this, taken, this.takeCredit());
  }

  /** What the peer is to be allowed anew; 0 when it is not worth a frame. */
  takeCredit(): number {
    if (this.#uncredited < CREDIT_BYTES || this.#isReceived || !this.#link.canCredit()) return 0;
    const credit = this.#uncredited;
    this.receiveWindow += credit;
    this.#uncredited = 0;
    return credit;
  }

  #finishIfDone(): void {
    if (this.#isSent && this.#isReceived) this.#link.onFinished(this);
  }

  #onDestroy(): void {
    const waiting = this.#writing;
    this.#writing = undefined;
    waiting?.done(new Error('the stream was reset'));
    const isOver = this.#isReset || (this.#isSent && this.#isReceived);
    if (!isOver) this.#link.sendReset(this);
    this.#isReset = true;
    const unread = this.#unread;
    this.#unread = 0;
    this.#queue.length = 0;
    this.#link.onTaken(this, unread, 0);
    this.#link.onFinished(this);
  }
}
