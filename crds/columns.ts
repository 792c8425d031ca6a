// Printer columns that all kinds of ours have.
import { conditionPath } from './fields.ts';
import type { PrinterColumn } from './kind.ts';

/** Status of condition Ready; `description` says what that means for the kind. */
export const readyColumn = (description: string): PrinterColumn => ({
  name: 'Ready',
  type: 'string',
  jsonPath: conditionPath('Ready', 'status'),
  description,
});

export const REASON_COLUMN: PrinterColumn = {
  name: 'Reason',
  type: 'string',
  jsonPath: conditionPath('Ready', 'reason'),
  description: 'Why it is Ready or not.',
};

export const MESSAGE_COLUMN: PrinterColumn = {
  name: 'Message',
  type: 'string',
  jsonPath: conditionPath('Ready', 'message'),
  priority: 1,
  description: 'Why it is Ready or not, as a sentence.',
};

export const AGE_COLUMN: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
