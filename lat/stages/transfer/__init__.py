"""The transfer stage: class shares and transferred labels."""
