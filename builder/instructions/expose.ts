import type { ExposeInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import { splitBlanks } from '../dockerfile/words.ts';
import { formatList } from './history-text.ts';
import type { Change, Scope } from './scope.ts';

const PROTOCOLS = ['tcp', 'udp', 'sctp'];
/** All ports of all protocols. */
const MAX_PORTS = 3 * 65_536;

export function parseExpose(source: InstructionSource): ExposeInstruction {
  refuseFlags(source);
  if (source.rest === '') throw source.error('EXPOSE needs a port');
  return { kind: 'EXPOSE', ...commonFields(source), ports: splitBlanks(source.rest).map(({ text }) => text) };
}

export function evaluateExpose(instruction: ExposeInstruction, scope: Scope): Change {
  const { state } = scope;
  const exposed: string[] = [];
  for (const word of instruction.ports.toSorted()) {
    for (const port of scope.expandWords(word)) {
      const { first, last, protocol } = parsePort(port, scope);
      if (exposed.length + last - first >= MAX_PORTS) throw scope.error(`EXPOSE has more than ${MAX_PORTS} ports`);
      for (let number = first; number <= last; number += 1) exposed.push(`${number}/${protocol}`);
    }
  }
  const ExposedPorts = { ...state.config.ExposedPorts, ...Object.fromEntries(exposed.map((port) => [port, {}])) };
  const createdBy = `EXPOSE ${formatList(exposed)}`;
  return { state: { ...state, config: { ...state.config, ExposedPorts } }, createdBy };
}

function parsePort(written: string, scope: Scope): { first: number; last: number; protocol: string } {
  const fail = (problem: string): Error => scope.error(`port ${quote(written)}: ${problem}`);
  const own = written.slice(written.lastIndexOf(':') + 1);
  if (own !== written) {
    const problem = 'address and host port are for the container, and are not taken from EXPOSE';
    scope.warn('ExposeInvalidFormat', `port ${quote(written)}: ${problem}`);
  }
  const [range = '', protocol = 'tcp', ...others] = own.split('/');
  if (others.length > 0) throw fail('must be PORT, PORT-PORT, PORT/PROTOCOL or PORT-PORT/PROTOCOL');
  const known = protocol.toLowerCase();
  if (!PROTOCOLS.includes(known)) throw fail(`protocol ${quote(protocol)} is none of ${PROTOCOLS.join(', ')}`);
  if (known !== protocol) scope.warn('ExposeProtoCasing', `protocol ${protocol} should be in lower case`);
  const bounds = range.split('-');
  if (bounds.length > 2 || !bounds.every((bound) => /^[0-9]{1,5}$/.test(bound) && Number(bound) <= 65_535)) {
    throw fail('must be a number up to 65535, or two of them with a - between');
  }
  const [first = 0, last = first] = bounds.map(Number);
  if (last < first) throw fail('the range ends before it begins');
  return { first, last, protocol: known };
}
