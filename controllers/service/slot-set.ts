// Sets of slots as text in the status: `1-3,5`, or in mode Global the slots of nodes one by one.
import type { Service } from '../../crds/service.ts';
import { formatSlots, parseSlots } from './job-progress.ts';

/** Reads what formatSlotSet() wrote. What is not of this form counts as nothing. */
export function parseSlotSet(service: Service, text: string): Set<string> {
  if (service.spec.mode === 'Global') return new Set(text.split(',').filter((slot) => slot !== ''));
  return new Set([...parseSlots(text)].map(String));
}

export function formatSlotSet(service: Service, slots: ReadonlySet<string>): string {
  return service.spec.mode === 'Global' ? [...slots].join(',') : formatSlots(new Set([...slots].map(Number)));
}
