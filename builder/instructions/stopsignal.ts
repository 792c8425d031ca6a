import { signalNumber } from '../../runtime-shim/oci-runtime/signals.ts';
import type { StopsignalInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource, readOne } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import type { Change, Scope } from './scope.ts';

export function parseStopsignal(source: InstructionSource): StopsignalInstruction {
  refuseFlags(source);
  return { kind: 'STOPSIGNAL', ...commonFields(source), signal: readOne(source, 'a signal') };
}

export function evaluateStopsignal(instruction: StopsignalInstruction, scope: Scope): Change {
  const { state } = scope;
  const signal = scope.expand(instruction.signal);
  if (signalNumber(signal.toUpperCase()) === undefined) {
    throw scope.error(`${quote(signal)} is no signal: a name such as SIGTERM, or a number from 1 to 64`);
  }
  return { state: { ...state, config: { ...state.config, StopSignal: signal } }, createdBy: `STOPSIGNAL ${signal}` };
}
