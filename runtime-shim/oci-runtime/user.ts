// Who runs in a container: `user[:group]` by name or number, looked up in the image's own passwd and group files.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { resolveInRoot, type Look } from './rooted-path.ts';

/** The kernel takes more, but programs (and runtimes) store ids as signed 32-bit numbers. */
const MAX_ID = 2 ** 31 - 1;
const MAX_FILE_BYTES = 4 * 1024 * 1024;

export interface UserRequest {
  /** `user[:group]`; '' = root. */
  readonly user: string;
  /** Wins over the group in `user`. */
  readonly group?: number | undefined;
  /** Numbers or names. */
  readonly supplementalGroups: readonly (number | string)[];
  /** Merge adds the groups of the image's group file, Strict does not. */
  readonly policy: 'Merge' | 'Strict';
}

export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Sorted, without duplicates, with the primary group. */
  readonly groups: readonly number[];
  readonly home: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}
interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** Resolves against the files in `root`; Invalid when a name is unknown or a number is out of range. Never falls back to root. */
export function resolveUser(root: string, request: UserRequest, look?: Look): ResolvedUser {
  const match = /^([^:]*)(?::([^:]+))?$/.exec(request.user);
  if (!match || (match[1] === '' && match[2] !== undefined) || /[\s\0]/.test(request.user)) {
    throw new WindlassError('Invalid', `invalid user ${JSON.stringify(request.user)}: want user[:group]`);
  }
  const [, userText = '', groupText] = match;
  const passwd = parsePasswd(readInRoot(root, '/etc/passwd', look));
  const group = parseGroup(readInRoot(root, '/etc/group', look));
  const entry = findUser(userText === '' ? '0' : userText, passwd);
  const gid = request.group ?? (groupText === undefined ? entry.gid : findGroup(groupText, group));
  checkId(gid, 'group');
  const fromFile =
    request.policy === 'Strict' || entry.name === ''
      ? []
      : group.filter(({ members }) => members.includes(entry.name)).map((item) => item.gid);
  const extra = request.supplementalGroups.map((wanted) => {
    const id = typeof wanted === 'number' ? wanted : findGroup(wanted, group);
    checkId(id, 'group');
    return id;
  });
  return {
    uid: entry.uid,
    gid,
    groups: [...new Set([gid, ...fromFile, ...extra])].toSorted((a, b) => a - b),
    home: entry.home,
  };
}

function findUser(text: string, passwd: readonly PasswdEntry[]): PasswdEntry {
  const isNumber = /^\d+$/.test(text);
  const found = passwd.find((entry) => (isNumber ? entry.uid === Number(text) : entry.name === text));
  if (found) {
    checkId(found.uid, 'user');
    return found;
  }
  if (!isNumber) throw new WindlassError('Invalid', `user ${JSON.stringify(text)} is not in the image's /etc/passwd`);
  checkId(Number(text), 'user');
  return { name: '', uid: Number(text), gid: 0, home: '/' };
}

function findGroup(text: string, groups: readonly GroupEntry[]): number {
  if (/^\d+$/.test(text)) return Number(text);
  const found = groups.find((entry) => entry.name === text);
  if (!found) throw new WindlassError('Invalid', `group ${JSON.stringify(text)} is not in the image's /etc/group`);
  return found.gid;
}

function checkId(id: number, what: string): void {
  if (!Number.isInteger(id) || id < 0 || id > MAX_ID) {
    throw new WindlassError('Invalid', `${what} id ${id} is out of range: 0 to ${MAX_ID}`);
  }
}

export function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
    if (name === '' || name.startsWith('#') || !/^\d+$/.test(uid) || !/^\d+$/.test(gid)) return [];
    return [{ name, uid: Number(uid), gid: Number(gid), home: home === '' ? '/' : home }];
  });
}

export function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gid = '', members = ''] = line.split(':');
    if (name === '' || name.startsWith('#') || !/^\d+$/.test(gid)) return [];
    return [{ name, gid: Number(gid), members: members.split(',').filter((member) => member !== '') }];
  });
}

/** Text of a regular file in the root; '' when there is none. Larger than any honest passwd file = Invalid. */
function readInRoot(root: string, path: string, look: Look | undefined): string {
  const { hostPath, stat } = resolveInRoot(root, path, look);
  if (!stat?.isFile()) return '';
  let fd: number;
  try {
    // Links were followed inside the root already; one that appears now is not.
    fd = openSync(hostPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ELOOP') return '';
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    if (size > MAX_FILE_BYTES)
      throw new WindlassError('Invalid', `the image's ${path} is larger than ${MAX_FILE_BYTES} bytes`);
    const buffer = Buffer.alloc(size);
    const length = readSync(fd, buffer, 0, size, 0);
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}
