package lm

// Grids of codes, and the delay pattern. Frames frames of Q codebooks, [Q][frames], become Columns(frames) columns: column 0 is
// all special, code t of codebook q stands in column t+1+Delays[q], and every other cell is special.

// Delayed lays prompt [Q][promptFrames] out in columns columns [Q][columns]; cells it does not fill are special.
func (c Config) Delayed(prompt []int32, promptFrames, columns int) []int32 {
	grid := make([]int32, c.Codebooks*columns)
	for i := range grid {
		grid[i] = int32(c.Entries)
	}
	for q, d := range c.Delays {
		for t := 0; t < promptFrames && t+1+d < columns; t++ {
			grid[q*columns+t+1+d] = prompt[q*promptFrames+t]
		}
	}
	return grid
}

// undelayed reads frames [from, to) of every codebook back from a grid [Q][columns]; the result is [Q][to-from].
func (c Config) undelayed(grid []int32, columns, from, to int) []int32 {
	codes := make([]int32, 0, c.Codebooks*(to-from))
	for q, d := range c.Delays {
		row := grid[q*columns+1+d:]
		codes = append(codes, row[from:to]...)
	}
	return codes
}

// Join puts codes [Q][m] and the codes [Q][n] of what follows into one [Q][m+n].
func (c Config) Join(before, after []int32) []int32 {
	m, n := len(before)/c.Codebooks, len(after)/c.Codebooks
	joined := make([]int32, 0, len(before)+len(after))
	for q := range c.Codebooks {
		joined = append(joined, before[q*m:(q+1)*m]...)
		joined = append(joined, after[q*n:(q+1)*n]...)
	}
	return joined
}
