// One connection to a container's monitor, shared by all who are attached. conmon writes to its clients in turn and
// waits for each, and with `stdinOnce` it closes the container's input when any of them leaves: so there is one, which
// reads on whatever a client does.
import { Writable } from 'node:stream';
import { connectSeqpacket, type PacketSocket } from '../host/seqpacket.ts';
import type { ClientStreams } from './client-streams.ts';

/** First byte of a packet of conmon's. */
const STDERR = 3;
/** Input per packet: conmon reads at most 32 KiB of one and would drop the rest. */
const MAX_INPUT_BYTES = 8 * 1024;
/** Output that may wait for one client before all of them, and the container, are held back. */
const MAX_WAITING_BYTES = 256 * 1024;
/** How long that may last without the client taking anything: after that it is cut off. */
const STALL_MS = 5_000;
const LOOK_MS = 250;
/** Clients of one container at once. */
export const MAX_CLIENTS = 100;

export interface HubOptions {
  readonly bundle: string;
  readonly hasStdin: boolean;
  /** The container's input ends with the first client that had it. */
  readonly stdinOnce: boolean;
  /** The container has ended, or nobody is attached any more; the hub is of no use after that. */
  onClose(): void;
}

export interface AttachHub {
  readonly size: number;
  /** Connects a client; resolves when it, or the container, is gone. */
  join(client: ClientStreams): Promise<void>;
}

interface Member {
  readonly client: ClientStreams;
  /** When it last took something, or began to have something to take. */
  takenAt: number;
}

/** Throws ECONNREFUSED or ENOENT when the monitor is gone. */
export function openAttachHub(options: HubOptions): AttachHub {
  const members = new Set<Member>();
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  let isHeldBack = false;
  let stallWatch: NodeJS.Timeout | undefined;

  const socket: PacketSocket = connectSeqpacket(options.bundle, 'attach', {
    onPacket(packet) {
      // conmon lets go of a connection when it fails to write to it: a silent container costs nothing until then.
      if (members.size === 0 && mayLeave()) {
        socket.destroy();
        return false;
      }
      for (const member of members) deliver(member, packet);
      isHeldBack = isAnyWaiting(MAX_WAITING_BYTES);
      if (isHeldBack) stallWatch ??= setInterval(cutStalled, LOOK_MS);
      return !isHeldBack;
    },
    onClose() {
      clearInterval(stallWatch);
      options.onClose();
      end();
    },
  });

  const input = new Writable({
    highWaterMark: MAX_INPUT_BYTES,
    write: (data: Buffer, _encoding, done) => sendInput(data, done),
    final(done) {
      socket.endWriting();
      done();
    },
  });
  // The container is gone, which onClose tells.
  input.on('error', () => undefined);
  // One set of listeners for each client.
  input.setMaxListeners(0);

  /** Leaving would close an input that nobody has had yet. */
  function mayLeave(): boolean {
    return !options.hasStdin || !options.stdinOnce || input.writableEnded;
  }

  function sendInput(data: Buffer, done: (error?: Error | null) => void): void {
    socket.send(data.subarray(0, MAX_INPUT_BYTES), (error) => {
      if (error || data.length <= MAX_INPUT_BYTES) done(error);
      else sendInput(data.subarray(MAX_INPUT_BYTES), done);
    });
  }

  function deliver(member: Member, packet: Buffer): void {
    const to = packet[0] === STDERR ? member.client.stderr : member.client.stdout;
    if (!to || to.destroyed) return;
    if (waiting(member) === 0) member.takenAt = performance.now();
    to.write(packet.subarray(1), () => {
      member.takenAt = performance.now();
      goOn();
    });
  }

  function isAnyWaiting(bytes: number): boolean {
    return [...members].some((member) => waiting(member) >= bytes);
  }

  function goOn(): void {
    if (!isHeldBack || isAnyWaiting(MAX_WAITING_BYTES / 2)) return;
    isHeldBack = false;
    clearInterval(stallWatch);
    stallWatch = undefined;
    socket.resume();
  }

  function cutStalled(): void {
    for (const member of members) {
      if (waiting(member) < MAX_WAITING_BYTES / 2 || performance.now() - member.takenAt < STALL_MS) continue;
      members.delete(member);
      member.client.destroy();
    }
    goOn();
  }

  function connectInput({ stdin }: ClientStreams): void {
    if (!stdin) return;
    if (!options.hasStdin || input.writableEnded) {
      stdin.resume();
      return;
    }
    stdin.pipe(input, { end: false });
    // Closed by the end of another client's input: what this one sends is of no use any more.
    input.once('close', () => stdin.resume());
    if (options.stdinOnce) {
      stdin.once('close', () => input.end());
      stdin.once('end', () => input.end());
    }
  }

  return {
    get size() {
      return members.size;
    },
    async join(client) {
      const member = { client, takenAt: performance.now() };
      members.add(member);
      connectInput(client);
      await Promise.race([ended, client.closed]);
      members.delete(member);
      goOn();
    },
  };
}

function waiting({ client }: Member): number {
  return (client.stdout?.writableLength ?? 0) + (client.stderr?.writableLength ?? 0);
}
