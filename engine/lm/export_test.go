package lm

// PieceWork is pieceWork, for tests.
var PieceWork = &pieceWork
