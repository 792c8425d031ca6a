// Routing rules and tables by firewall mark (ip-rule(8)), IPv4. Rules of one preference are told apart by their mark.
import {
  decodeAttributes,
  encodeAttributes,
  NLM_F,
  text,
  u32,
  type Attribute,
  type NetlinkMessage,
  type NetlinkRequest,
  type NetlinkSocket,
} from './netlink.ts';
import { ipBytes } from './rtnetlink.ts';

const RTM = { newRoute: 24, delRoute: 25, getRoute: 26, newRule: 32, delRule: 33, getRule: 34 } as const;
const FRA = { iifName: 3, goto: 4, priority: 6, mark: 10, table: 15, mask: 16 } as const;
const RTA = { oif: 4, gateway: 5, table: 15 } as const;
const ACTION = { table: 1, goto: 2, nop: 3 } as const;
const RTNH_F_ONLINK = 4;
const AF_INET = 2;

export interface RoutingRule {
  readonly preference: number;
  /** Compared under `mask`; absent = any packet. */
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly inputLink?: string;
  /** What it does: look into a table, go on at another preference, or nothing. */
  readonly action: { readonly table: number } | { readonly goto: number } | 'nop';
}

/** Rules whose preference is within the two, both included. */
export function listRules(socket: NetlinkSocket, first: number, last: number): RoutingRule[] {
  const body = ruleHeader(0);
  return socket
    .request([{ type: RTM.getRule, flags: NLM_F.dump, body, effect: 'list routing rules' }])
    .flatMap((message): RoutingRule[] => {
      const attributes = decodeAttributes(message.body.subarray(12));
      const number = (type: number): number | undefined => attributes.get(type)?.readUInt32LE(0);
      const preference = number(FRA.priority) ?? 0;
      if (preference < first || preference > last) return [];
      const mask = number(FRA.mask) ?? 0;
      const inputLink = attributes.get(FRA.iifName)?.toString('utf8').replace(/\0.*$/s, '');
      const kind = message.body[7];
      return [
        {
          preference,
          ...(mask === 0 ? {} : { mark: { value: number(FRA.mark) ?? 0, mask } }),
          ...(inputLink === undefined ? {} : { inputLink }),
          action:
            kind === ACTION.goto
              ? { goto: number(FRA.goto) ?? 0 }
              : kind === ACTION.nop
                ? 'nop'
                : { table: number(FRA.table) ?? message.body[4] ?? 0 },
        },
      ];
    });
}

/** Adds a rule; fine when it is there. */
export function addRule(socket: NetlinkSocket, rule: RoutingRule): void {
  request(socket, ruleRequest(rule, true), 'EEXIST');
}

/** Removes a rule; fine when it is gone. */
export function deleteRule(socket: NetlinkSocket, rule: RoutingRule): void {
  request(socket, ruleRequest(rule, false), 'ENOENT');
}

/** Table -> where its default route leads, of these tables alone: a router's host may have a million routes in others. */
export function listDefaultRoutes(
  socket: NetlinkSocket,
  tables: ReadonlySet<number>,
): Map<number, { readonly gateway: string; readonly link: number }> {
  if (tables.size === 0) return new Map();
  const list = (effect: string, attributes: readonly Attribute[]): NetlinkMessage[] => {
    const body = Buffer.concat([Buffer.of(AF_INET, ...Buffer.alloc(11)), encodeAttributes(attributes)]);
    return socket.request([{ type: RTM.getRoute, flags: NLM_F.dump, body, effect }]);
  };
  // One list at a time, as the kernel has it. A table that does not exist has no routes.
  const named = socket.strictly(() =>
    [...tables].flatMap((table) => list(`list routes of table ${table}`, [[RTA.table, u32(table)]])),
  );
  const messages = named ?? list('list routes of all tables', []);
  return new Map(
    messages.flatMap((message) => {
      const attributes = decodeAttributes(message.body.subarray(12));
      const table = attributes.get(RTA.table)?.readUInt32LE(0) ?? 0;
      const gateway = attributes.get(RTA.gateway)?.join('.');
      if (message.body[1] !== 0 || !tables.has(table) || gateway === undefined) return [];
      return [[table, { gateway, link: attributes.get(RTA.oif)?.readUInt32LE(0) ?? 0 }] as const];
    }),
  );
}

/** Gives the table this default route, in place of another. `gateway` is on the link, whatever other routes say. */
export function replaceDefaultRoute(
  socket: NetlinkSocket,
  table: number,
  { gateway, link }: { readonly gateway: string; readonly link: number },
): void {
  const body = routeBody(table, [
    [RTA.gateway, ipBytes(gateway)],
    [RTA.oif, u32(link)],
  ]);
  const flags = NLM_F.ack | NLM_F.create | NLM_F.replace;
  socket.request([{ type: RTM.newRoute, flags, body, effect: `route table ${table} via ${gateway}` }]);
}

/** Takes the default route out of the table; fine when it has none. */
export function deleteDefaultRoute(socket: NetlinkSocket, table: number): void {
  const effect = `remove the default route of table ${table}`;
  request(socket, { type: RTM.delRoute, flags: NLM_F.ack, body: routeBody(table, []), effect }, 'ESRCH');
}

function routeBody(table: number, attributes: readonly Attribute[]): Buffer {
  // struct rtmsg: family, dst_len, src_len, tos, table (the attribute counts), protocol static, scope, type unicast, flags.
  const header = Buffer.of(AF_INET, 0, 0, 0, 0, 4, 0, 1, RTNH_F_ONLINK, 0, 0, 0);
  return Buffer.concat([header, encodeAttributes([[RTA.table, u32(table)], ...attributes])]);
}

function ruleRequest({ preference, mark, inputLink, action }: RoutingRule, isAdd: boolean): NetlinkRequest {
  const kind = action === 'nop' ? ACTION.nop : 'goto' in action ? ACTION.goto : ACTION.table;
  const attributes: Attribute[] = [[FRA.priority, u32(preference)]];
  if (mark) attributes.push([FRA.mark, u32(mark.value)], [FRA.mask, u32(mark.mask)]);
  if (inputLink !== undefined) attributes.push([FRA.iifName, text(inputLink)]);
  if (action !== 'nop')
    attributes.push('goto' in action ? [FRA.goto, u32(action.goto)] : [FRA.table, u32(action.table)]);
  return {
    type: isAdd ? RTM.newRule : RTM.delRule,
    flags: NLM_F.ack | (isAdd ? NLM_F.create | NLM_F.excl : 0),
    body: Buffer.concat([ruleHeader(kind), encodeAttributes(attributes)]),
    effect: `${isAdd ? 'add' : 'remove'} routing rule ${preference}`,
  };
}

/** struct fib_rule_hdr: family, dst_len, src_len, tos, table (the attribute counts), two reserved, action, flags. */
const ruleHeader = (action: number): Buffer => Buffer.of(AF_INET, 0, 0, 0, 0, 0, 0, action, 0, 0, 0, 0);

function request(socket: NetlinkSocket, message: NetlinkRequest, fine: string): void {
  try {
    socket.request([message]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== fine) throw error;
  }
}
