// A terminal as a stream that is there before the terminal is: the OCI runtime makes it in the container and sends it.
import { closeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { openPtyMaster, type PtyMaster } from '../host/pty.ts';

export interface TerminalStream {
  readonly stream: Duplex;
  /** Connects the near end of the terminal, which is taken over; input and size that came before reach it now. */
  attach(masterFd: number): void;
  /** No terminal will come: there is no output. */
  giveUp(): void;
  resize(columns: number, rows: number): void;
}

/** A stream that ends when the terminal does, after all of its output. */
export function createTerminalStream(): TerminalStream {
  let master: PtyMaster | undefined;
  let early: { readonly chunk: Buffer; readonly done: () => void } | undefined;
  let size: { readonly columns: number; readonly rows: number } | undefined;
  const stream = new Duplex({
    read: () => master?.resume(),
    write(chunk: Buffer, _, done) {
      // What a terminal does not take is lost, as what is typed at a program that has ended.
      if (master) master.write(chunk, () => done());
      else early = { chunk, done: () => done() };
    },
    destroy(error, done) {
      master?.destroy();
      early?.done();
      done(error);
    },
  });
  const end = (): void => {
    if (stream.destroyed) return;
    stream.once('end', () => stream.destroy());
    stream.push(null);
  };
  return {
    stream,
    attach(masterFd) {
      if (stream.destroyed) return closeSync(masterFd);
      master = openPtyMaster(masterFd, { onData: (chunk) => stream.destroyed || stream.push(chunk), onEnd: end });
      if (size) master.setSize(size.columns, size.rows);
      if (early) master.write(early.chunk, early.done);
      early = undefined;
    },
    giveUp: end,
    resize(columns, rows) {
      size = { columns, rows };
      master?.setSize(columns, rows);
    },
  };
}
