// The server's side of a SPDY/3.1 connection (SPDY Protocol draft 3.1) as Kubernetes' clients speak it: streams come from
// the client only. Go's client sends no WINDOW_UPDATE and heeds none, so windows bind us only once a peer has shown that
// it has them; one that has not is held back by not reading its connection.
import type { Duplex } from 'node:stream';
import { createFrameReader, type ControlFrame, type FrameReader } from './frame-reader.ts';
import * as frames from './frames.ts';
import { FLAG, GO_AWAY, INITIAL_WINDOW_BYTES, MAX_WINDOW_BYTES, RST, SETTING, SpdyError } from './frames.ts';
import { createHeaderReader, createHeaderWriter, type Headers } from './header-blocks.ts';
import { SpdyStream, type StreamLink } from './stream.ts';

/** Unread bytes, of one stream and of all, at which a connection is no longer read. */
const MAX_UNREAD_STREAM_BYTES = 1024 * 1024;
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;
/** Answers (to pings and the like) that a peer may leave unread; and from where on it is told of no windows. */
const MAX_UNSENT_CONTROL_BYTES = 64 * 1024;
const MAX_UNSENT_CREDIT_BYTES = 16 * 1024;
/** A connection that is not read shows only by writing to it that the peer has left. */
const PING_MS = 15_000;
/** How long a peer may take to close after we did. */
const CLOSE_MS = 5_000;

export interface SessionOptions {
  readonly maxStreams: number;
  /** Told of every new stream; false refuses it. */
  onStream(stream: SpdyStream): boolean;
}

export class SpdySession {
  /** Resolves when the connection is gone, and all streams with it. */
  readonly closed: Promise<void>;
  readonly #socket: Duplex;
  readonly #options: SessionOptions;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #headerReader = createHeaderReader();
  readonly #headerWriter = createHeaderWriter();
  readonly #reader: FrameReader;
  readonly #link: StreamLink;
  #lastStreamId = 0;
  /** True once the peer has sent WINDOW_UPDATE or its initial window. */
  #hasWindows = false;
  #initialSendWindow = INITIAL_WINDOW_BYTES;
  #sendWindow = INITIAL_WINDOW_BYTES;
  #receiveWindow = INITIAL_WINDOW_BYTES;
  #unread = 0;
  #uncredited = 0;
  #unsentControl = 0;
  #isClosing = false;
  #hasPeerLeft = false;

  constructor(socket: Duplex, options: SessionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#link = {
      sendRoom: (stream) => (this.#hasWindows ? Math.min(stream.sendWindow, this.#sendWindow) : Infinity),
      sendData: (stream, data, isLast, done) => this.#sendData(stream, data, isLast, done),
      sendReset: ({ id }) => this.#sendControl(frames.rstStream(id, RST.cancel)),
      canCredit: () => this.#canCredit(),
      onTaken: (stream, bytes, credit) => this.#onTaken(stream, bytes, credit),
      onFinished: ({ id }) => this.#streams.delete(id),
    };
    this.#reader = createFrameReader({
      onControl: (frame) => this.#onControl(frame),
      onData: (streamId, data, isLast) => this.#onData(streamId, data, isLast),
    });
    socket.on('error', () => socket.destroy());
    // A peer that sends no more takes no part any longer: it could not even say that it has read something.
    socket.on('end', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    let pingId = 0;
    // The connection alone decides how long a process lives.
    const pinging = setInterval(() => this.#sendControl(frames.ping((pingId += 2))), PING_MS);
    pinging.unref();
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        clearInterval(pinging);
        for (const stream of [...this.#streams.values()]) stream.drop();
        resolve();
      });
    });
  }

  /** Says that no stream is taken any more, and closes once the peer has read everything. */
  close(status: number = GO_AWAY.ok): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#sendControl(frames.goAway(this.#lastStreamId, status));
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#socket.destroyed) return;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof SpdyError)) throw error;
      for (const stream of [...this.#streams.values()]) stream.drop();
      // Nothing that follows can be understood.
      this.#socket.removeAllListeners('data');
      this.#socket.resume();
      this.close(GO_AWAY.protocolError);
    }
  }

  #onControl(frame: ControlFrame): void {
    switch (frame.kind) {
      case 'synStream':
        this.#onSynStream(frame.streamId, this.#headerReader.read(frame.block), frame.flags);
        break;
      case 'headers':
        // Means nothing here, but the blocks of a connection are one stream.
        this.#headerReader.read(frame.block);
        if ((frame.flags & FLAG.fin) !== 0) this.#streams.get(frame.streamId)?.receive(Buffer.alloc(0), true);
        break;
      case 'rstStream':
        this.#streams.get(frame.streamId)?.drop();
        break;
      case 'settings':
        this.#onSettings(frame.values);
        break;
      case 'ping':
        // Even numbers are answers to our own.
        if (frame.id % 2 === 1) this.#sendControl(frames.ping(frame.id));
        break;
      case 'goAway':
        this.#hasPeerLeft = true;
        if (this.#streams.size === 0) this.close();
        break;
      case 'windowUpdate':
        this.#onWindowUpdate(frame.streamId, frame.bytes);
        break;
    }
  }

  #onSynStream(id: number, headers: Headers, flags: number): void {
    if (this.#isClosing || this.#hasPeerLeft) return;
    if (id % 2 === 0 || id <= this.#lastStreamId) throw new SpdyError(`stream ${id} is out of turn`);
    this.#lastStreamId = id;
    const stream = new SpdyStream(id, headers, this.#link, this.#initialSendWindow);
    const isTaken =
      (flags & FLAG.unidirectional) === 0 &&
      this.#streams.size < this.#options.maxStreams &&
      this.#options.onStream(stream);
    if (!isTaken) {
      stream.drop();
      this.#sendControl(frames.rstStream(id, RST.refusedStream));
      return;
    }
    this.#streams.set(id, stream);
    this.#sendControl(frames.synReply(id, this.#headerWriter.write(new Map())));
    if ((flags & FLAG.fin) !== 0) stream.receive(Buffer.alloc(0), true);
  }

  #onData(streamId: number, data: Buffer, isLast: boolean): void {
    this.#receiveWindow -= data.length;
    if (this.#hasWindows && this.#receiveWindow < 0) throw new SpdyError('more data than the connection allows');
    const stream = this.#streams.get(streamId);
    if (!stream || stream.isReceived) {
      if (!stream && streamId > this.#lastStreamId)
        throw new SpdyError(`data for stream ${streamId}, which is not open`);
      // Sent before the peer knew that the stream has ended.
      this.#credit(data.length);
      return;
    }
    if (this.#hasWindows && stream.receiveWindow < data.length) {
      this.#credit(data.length);
      this.#reset(stream, RST.flowControlError);
      return;
    }
    this.#unread += data.length;
    stream.receive(data, isLast);
    if (this.#unread >= MAX_UNREAD_BYTES || stream.unread >= MAX_UNREAD_STREAM_BYTES) this.#socket.pause();
  }

  #onTaken(stream: SpdyStream, bytes: number, credit: number): void {
    this.#unread -= bytes;
    this.#credit(bytes);
    if (credit > 0) this.#sendControl(frames.windowUpdate(stream.id, credit));
    if (!this.#socket.isPaused() || this.#unread >= MAX_UNREAD_BYTES / 2) return;
    const isFull = [...this.#streams.values()].some(({ unread }) => unread >= MAX_UNREAD_STREAM_BYTES / 2);
    if (!isFull) this.#socket.resume();
  }

  /** Lets the peer send as much again on the connection as a whole. */
  #credit(bytes: number): void {
    this.#uncredited += bytes;
    if (this.#uncredited < INITIAL_WINDOW_BYTES / 2 || !this.#canCredit()) return;
    this.#receiveWindow += this.#uncredited;
    this.#sendControl(frames.windowUpdate(0, this.#uncredited));
    this.#uncredited = 0;
  }

  #canCredit(): boolean {
    return this.#unsentControl < MAX_UNSENT_CREDIT_BYTES;
  }

  /** What was held back while the peer did not read. */
  #creditAll(): void {
    this.#credit(0);
    for (const stream of this.#streams.values()) {
      const credit = stream.takeCredit();
      if (credit > 0) this.#sendControl(frames.windowUpdate(stream.id, credit));
    }
  }

  #onWindowUpdate(streamId: number, bytes: number): void {
    if (bytes === 0) throw new SpdyError('a window update of 0 bytes');
    this.#hasWindows = true;
    if (streamId !== 0) {
      const stream = this.#streams.get(streamId);
      if (stream && !stream.allow(bytes)) this.#reset(stream, RST.flowControlError);
      return;
    }
    this.#sendWindow += bytes;
    if (this.#sendWindow > MAX_WINDOW_BYTES) throw new SpdyError('the window of the connection is too large');
    for (const stream of this.#streams.values()) stream.continueWriting();
  }

  #onSettings(values: ReadonlyMap<number, number>): void {
    const size = values.get(SETTING.initialWindowSize);
    if (size === undefined) return;
    if (size > MAX_WINDOW_BYTES) throw new SpdyError('an initial window that is too large');
    this.#hasWindows = true;
    const change = size - this.#initialSendWindow;
    this.#initialSendWindow = size;
    for (const stream of [...this.#streams.values()]) {
      if (!stream.allow(change)) this.#reset(stream, RST.flowControlError);
    }
  }

  #reset(stream: SpdyStream, status: number): void {
    this.#sendControl(frames.rstStream(stream.id, status));
    stream.drop();
  }

  #sendData(stream: SpdyStream, data: Buffer, isLast: boolean, done?: (error?: Error | null) => void): void {
    if (!this.#socket.writable) {
      done?.(new Error('the connection is closed'));
      return;
    }
    stream.sendWindow -= data.length;
    this.#sendWindow -= data.length;
    this.#socket.cork();
    this.#socket.write(frames.dataHeader(stream.id, data.length, isLast), data.length === 0 ? done : undefined);
    if (data.length > 0) this.#socket.write(data, done);
    this.#socket.uncork();
  }

  #sendControl(frame: Buffer): void {
    if (!this.#socket.writable) return;
    this.#unsentControl += frame.length;
    this.#socket.write(frame, () => {
      this.#unsentControl -= frame.length;
      if (this.#unsentControl === 0 && !this.#socket.destroyed) this.#creditAll();
    });
    if (this.#unsentControl > MAX_UNSENT_CONTROL_BYTES) this.#socket.destroy();
  }
}
