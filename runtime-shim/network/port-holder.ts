// Which host process has a port: /proc/net names the socket's inode, /proc/<pid>/fd its owner.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { readKernelText } from '../../lib/kernel-file.ts';

/** `process 812 (nginx)`; undefined when no socket of the host is bound there (or its owner cannot be seen). */
export function findPortHolder(protocol: 'TCP' | 'UDP', port: number): string | undefined {
  const name = protocol.toLowerCase();
  const inodes = new Set(
    [name, `${name}6`].flatMap((file) =>
      socketInodes(
        readQuietly(() => readKernelText(`/proc/net/${file}`)),
        port,
      ),
    ),
  );
  if (inodes.size === 0) return undefined;
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const owns = listQuietly(`/proc/${pid}/fd`).some((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(readQuietly(() => readlinkSync(`/proc/${pid}/fd/${fd}`)))?.[1];
      return inode !== undefined && inodes.has(inode);
    });
    if (owns) return `process ${pid} (${nameOf(pid)})`;
  }
  return 'a process of the host';
}

// Node calls its main thread MainThread, which then is the name of the process.
function nameOf(pid: string): string {
  const name = readQuietly(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).trim();
  return name === 'MainThread' ? basename(readQuietly(() => readlinkSync(`/proc/${pid}/exe`))) || name : name;
}

const TCP_ESTABLISHED = '01';

/** Inodes of the sockets bound to the local port in the text of /proc/net/{tcp,udp}{,6}, connections left out. */
export function socketInodes(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [, local, , state] = fields;
    const inode = fields[9];
    return local?.endsWith(suffix) && state !== TCP_ESTABLISHED && inode && inode !== '0' ? [inode] : [];
  });
}

/** Processes end between being listed and being read. */
function readQuietly(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

function listQuietly(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
